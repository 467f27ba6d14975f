//! How the listener ends, over real sockets.

use token_broker::web::listener::{Ending, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::harness::TestApp;

const ALIVE: &[u8] = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// To their owners they are connections long since: nginx may have sent a request that it must not send twice.
#[tokio::test]
async fn who_waits_to_be_taken_when_the_listener_closes_is_taken_and_answered() {
    let (app, ending) = (TestApp::new(), Ending::default());
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut caller = TcpStream::connect(address).await.unwrap();
        caller.write_all(ALIVE).await.unwrap();
        waiting.push(caller);
    }
    ending.part.cancel();
    ending.close.cancel();
    let listener = Listener::new(app.app.onion(), &app.app.state().face.server, ending);
    listener.serve(tcp).await;
    for mut caller in waiting {
        let mut text = String::new();
        caller.read_to_string(&mut text).await.unwrap();
        assert!(
            text.starts_with("HTTP/1.1 200") && text.ends_with("alive"),
            "{text}"
        );
    }
    assert!(
        TcpStream::connect(address).await.is_err(),
        "it still listens"
    );
}
