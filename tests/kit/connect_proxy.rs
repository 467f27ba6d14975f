//! An HTTP proxy that alone knows where foreign names are: it tunnels (CONNECT) and forwards plain http.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// A proxy through which every name leads to this machine.
pub struct ConnectProxy {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl ConnectProxy {
    /// Starts a proxy. With `credential`, others than its bearer get 407.
    pub async fn start(credential: Option<&str>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, wanted) = (Arc::clone(&heads), credential.map(str::to_owned));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, Arc::clone(&seen), wanted.clone()));
            }
        });
        Self { address, heads }
    }

    /// Returns its address as a setting.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the first line of each connection so far.
    pub fn requests(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        let line = |head: &String| head.lines().next().unwrap_or_default().to_owned();
        heads.iter().map(line).collect()
    }
}

async fn serve(mut client: TcpStream, seen: Arc<Mutex<Vec<String>>>, wanted: Option<String>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else {
            return;
        };
        head.push(byte);
    }
    let text = String::from_utf8(head).unwrap();
    seen.lock().unwrap().push(text.clone());
    let may = wanted.is_none_or(|wanted| text.contains(&format!("asic {wanted}\r\n")));
    if !may {
        let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
        let _ = client.write_all(refusal).await;
        return;
    }
    let target = text.split(' ').nth(1).unwrap();
    let authority = target.trim_start_matches("http://").split('/').next();
    let port = authority.and_then(|authority| authority.rsplit(':').next());
    let port: u16 = port.unwrap().parse().unwrap();
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .unwrap();
    if text.starts_with("CONNECT ") {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    } else {
        server.write_all(text.as_bytes()).await.unwrap();
    }
    let _ = copy_bidirectional(&mut client, &mut server).await;
}
