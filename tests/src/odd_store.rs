//! A server of a few objects with keys as odd as others may choose them, which no file system could hold. It is an S3 store
//! for readers that list, and a plain web server, which may require a signature.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Returns the loopback addresses of this machine: IPv4, and IPv6 where there is one.
pub fn addresses() -> Vec<(&'static str, IpAddr)> {
    let both = [("IPv4", IpAddr::V4(Ipv4Addr::LOCALHOST)), ("IPv6", IpAddr::V6(Ipv6Addr::LOCALHOST))];
    let (there, missing): (Vec<_>, Vec<_>) = both.into_iter().partition(|(_, at)| TcpListener::bind((*at, 0)).is_ok());
    missing.iter().for_each(|(name, _)| println!("skipped: no {name} here"));
    there
}

/// A running server; it ends with the test's process.
pub struct OddStore {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Objects by key, which begins with the bucket.
    objects: BTreeMap<String, Vec<u8>>,
    /// Query that every request must have; only GET is signed.
    signature: Option<String>,
    requests: Mutex<Vec<String>>,
}

impl OddStore {
    /// Serves `objects` on a free port of `address`: contents by keys, which begin with the bucket's name.
    pub fn start(address: IpAddr, objects: &[(&str, impl AsRef<[u8]>)]) -> Self {
        Self::serve(address, objects, None)
    }

    /// Serves `objects` only to GET requests with the query `signature`.
    pub fn signed(address: IpAddr, objects: &[(&str, &str)], signature: &str) -> Self {
        Self::serve(address, objects, Some(signature.to_owned()))
    }

    fn serve(address: IpAddr, objects: &[(&str, impl AsRef<[u8]>)], signature: Option<String>) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("there is a free port");
        let address = listener.local_addr().expect("it has an address");
        let objects = objects.iter().map(|(key, content)| ((*key).to_owned(), content.as_ref().to_vec())).collect();
        let state = Arc::new(State { objects, signature, requests: Mutex::default() });
        let for_thread = state.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let state = for_thread.clone();
                // A client that hangs up gets no answer.
                std::thread::spawn(move || drop(state.answer(socket)));
            }
        });
        OddStore { address, state }
    }

    /// Returns the URL, `http://ADDRESS:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the environment variables with which a process reaches this server through `s3://` URLs.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        let any = || "any".to_owned();
        [
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_ACCESS_KEY_ID", any()),
            ("AWS_SECRET_ACCESS_KEY", any()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }

    /// Returns the requests so far, each as `GET /bucket/key?query`.
    pub fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl State {
    fn answer(&self, socket: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(socket.try_clone()?);
        let (mut line, mut range) = (String::new(), None);
        reader.read_line(&mut line)?;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
                break;
            }
            if let Some(bytes) = header.to_ascii_lowercase().trim().strip_prefix("range: bytes=") {
                range = bytes.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
            }
        }
        let mut words = line.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{method} {target}"));
        let (head, body) = self.content(method, &unescaped(path), query, range);
        let body = if method == "HEAD" { Vec::new() } else { body };
        let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
        let mut socket = socket;
        socket.write_all(&[head.as_bytes(), &body].concat())
    }

    /// Returns the head of an answer, without `HTTP/1.1`, and its body.
    fn content(&self, method: &str, path: &str, query: &str, range: Option<(usize, usize)>) -> (String, Vec<u8>) {
        let no = |status: &str| (format!("{status}\r\nContent-Length: 0"), Vec::new());
        if self.signature.as_ref().is_some_and(|signature| method != "GET" || query != signature) {
            return no("403 Forbidden");
        }
        if !matches!(method, "GET" | "HEAD") {
            return no("405 Method Not Allowed");
        }
        let key = path.trim_start_matches('/');
        if query.contains("list-type=2") {
            let body = self.listing(key.trim_end_matches('/'), query);
            return (
                format!("200 OK\r\nContent-Type: application/xml\r\nContent-Length: {}", body.len()),
                body.into_bytes(),
            );
        }
        let Some(content) = self.objects.get(key) else { return no("404 Not Found") };
        let about = "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nETag: \"e\"\r\nContent-Length";
        match range.map(|(from, to)| (from, to.min(content.len().saturating_sub(1)))) {
            Some((from, to)) if from <= to => {
                let body = content[from..=to].to_owned();
                let range = format!("Content-Range: bytes {from}-{to}/{}", content.len());
                (format!("206 Partial Content\r\n{range}\r\n{about}: {}", body.len()), body)
            }
            Some(_) => no("416 Range Not Satisfiable"),
            None => (format!("200 OK\r\n{about}: {}", content.len()), content.clone()),
        }
    }

    /// Lists all keys of a bucket with the requested prefix, as S3 does.
    fn listing(&self, bucket: &str, query: &str) -> String {
        let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).map(unescaped).unwrap_or_default();
        let mut body = format!("<ListBucketResult><Name>{bucket}</Name><IsTruncated>false</IsTruncated>");
        let in_bucket = self
            .objects
            .iter()
            .filter_map(|(key, content)| Some((key.strip_prefix(bucket)?.strip_prefix('/')?, content)));
        for (key, content) in in_bucket.filter(|(key, _)| key.starts_with(&prefix)) {
            let key: String = key
                .chars()
                .map(|c| if c.is_alphanumeric() { c.to_string() } else { format!("&#{};", c as u32) })
                .collect();
            // Writing to a string never fails.
            let _ = write!(
                body,
                "<Contents><Key>{key}</Key><LastModified>2015-10-21T07:28:00.000Z</LastModified><ETag>\"e\"</ETag>\
                 <Size>{}</Size></Contents>",
                content.len()
            );
        }
        body + "</ListBucketResult>"
    }
}

/// Decodes escapes like `%41` in `text`.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digits = (byte == b'%')
            .then(|| [rest.next(), rest.next()].into_iter().flatten().map(char::from).collect::<String>());
        bytes.push(digits.map_or(byte, |digits| u8::from_str_radix(&digits, 16).unwrap_or(b'?')));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
