//! A real `HAProxy` in front: its health checks and the connections that it keeps.

use std::time::Duration;

use crate::kit::answer::Answer;
use crate::kit::executable::Launch;
use crate::kit::http::client;
use crate::kit::programs::{free_address, program};
use crate::kit::provider::simulator;
use crate::kit::scratch::Scratch;
use crate::kit::waiting::{amid_the_work, until};

#[tokio::test]
async fn f09_f10_haproxy_finds_the_broker_healthy_and_loses_no_request_on_kept_connections() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator)
        .set("server.header_timeout", "500ms")
        .set("server.trusted_proxies", "127.0.0.1")
        .set("limits.token", "100/60s")
        .start()
        .await;
    let (scratch, front) = (Scratch::new(), free_address());
    // Plain `option httpchk` sends HTTP/1.0 without a Host. One failed check takes the broker out.
    let path = scratch.file(
        "haproxy.cfg",
        &format!(
            "defaults\n  mode http\n  timeout connect 1s\n  timeout client 30s\n  timeout server 30s\n  timeout check 10s\n  retries 0\n\
             frontend public\n  bind {front}\n  default_backend brokers\n\
             backend brokers\n  option httpchk GET /health\n  http-reuse always\n  option forwardfor\n\
             \x20 server one {} check inter 50ms fall 1\n",
            broker.address
        ),
    );
    let mut command = program("haproxy");
    command.args(["-f", &path]);
    let mut haproxy = Launch::from(command).spawn();
    until("HAProxy answers", || {
        std::net::TcpStream::connect(front).is_ok()
    })
    .await;
    for pause in [0, 480, 490, 495, 500, 505, 510, 1200] {
        // The connection is idle around the time after which the broker used to close it.
        amid_the_work(pause).await;
        let answer = Answer::to(client().post(format!("http://{front}/token"))).await;
        assert_eq!(answer.status, 200, "after {pause} ms: {answer:?}");
    }
    haproxy.end_now("TERM", Duration::from_secs(2));
}
