//! The fast fake upstream: answers every POST with a fresh-looking client secret of about 1 kB, at next to no cost.
//!
//! It runs on the generator's own thread: see [`crate::load::closed`].

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Seconds that a secret lives.
const LIFETIME: u64 = 60;

/// Starts it on a free port of loopback, for as long as this program runs.
pub async fn start() -> anyhow::Result<SocketAddr> {
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = tcp.local_addr()?;
    tokio::spawn(async move {
        let minted = Arc::new(AtomicU64::new(0));
        while let Ok((stream, _)) = tcp.accept().await {
            let minted = Arc::clone(&minted);
            tokio::spawn(async move {
                // Whoever hangs up has its reasons.
                let _ = attend(stream, &minted).await;
            });
        }
    });
    Ok(address)
}

async fn attend(mut stream: TcpStream, minted: &AtomicU64) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut seen = Vec::with_capacity(16 * 1024);
    loop {
        while let Some((length, is_mint)) = whole_request(&seen)? {
            seen.drain(..length);
            let answer = if is_mint {
                mint(minted.fetch_add(1, Ordering::Relaxed))?
            } else {
                around("{\"object\":\"list\",\"data\":[]}")
            };
            stream.write_all(answer.as_bytes()).await?;
        }
        if stream.read_buf(&mut seen).await? == 0 {
            return Ok(());
        }
    }
}

/// Length of the first whole request in `seen`, and whether it wants a mint. Refuses one without the key, so that a
/// subject that forgets it cannot shine.
fn whole_request(seen: &[u8]) -> anyhow::Result<Option<(usize, bool)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(seen)? else {
        return Ok(None);
    };
    let field = |name: &str| {
        let mut fields = request.headers.iter();
        fields
            .find(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    };
    anyhow::ensure!(
        field("transfer-encoding").is_none(),
        "chunked requests are not understood"
    );
    anyhow::ensure!(
        field("authorization") == Some(b"Bearer sk-load-comparison"),
        "no key"
    );
    let body = match field("content-length") {
        Some(length) => std::str::from_utf8(length)?.parse()?,
        None => 0,
    };
    let length = head + body;
    Ok((seen.len() >= length).then_some((length, request.method == Some("POST"))))
}

/// A client secret in the provider's shape.
fn mint(number: u64) -> anyhow::Result<String> {
    let expires_at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + LIFETIME;
    Ok(around(&format!(
        r#"{{"value":"ek_{number:032x}","expires_at":{expires_at},"session":{{"type":"realtime","object":"realtime.session","id":"sess_{number:020}","model":"gpt-realtime-2.1","output_modalities":["audio"],"instructions":"You are a friendly voice assistant. Speak naturally and keep your answers short: one or two sentences, unless you are asked for more. If you did not understand something, say so and ask. If you do not know something, say that too. Answer in the language you are spoken to.","tools":[],"tool_choice":"auto","max_output_tokens":"inf","tracing":null,"truncation":"auto","prompt":null,"expires_at":0,"audio":{{"input":{{"format":{{"type":"audio/pcm","rate":24000}},"transcription":{{"model":"gpt-4o-mini-transcribe"}},"noise_reduction":{{"type":"near_field"}},"turn_detection":{{"type":"server_vad","threshold":0.5,"prefix_padding_ms":300,"silence_duration_ms":500,"idle_timeout_ms":null,"create_response":true,"interrupt_response":true}}}},"output":{{"format":{{"type":"audio/pcm","rate":24000}},"voice":"marin","speed":1.0}}}},"include":null}}}}"#
    )))
}

fn around(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ndate: {}\r\nopenai-processing-ms: 1\r\nx-request-id: req_fake\r\ncontent-length: {}\r\n\r\n{body}",
        httpdate::fmt_http_date(SystemTime::now()),
        body.len(),
    )
}
