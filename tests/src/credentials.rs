//! A service that hands out an access key, as the host of a container does. The key can be replaced.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use crate::s3::SECRET_KEY;

/// A running service; it ends with the process.
pub struct CredentialService {
    url: String,
    key_file: PathBuf,
}

impl CredentialService {
    /// Starts a service that hands out `key`, which it keeps in a file in the folder `dir`.
    pub fn start(dir: &Path, key: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let url = format!("http://{}/credentials", listener.local_addr().expect("it has an address"));
        let service = CredentialService { url, key_file: dir.join("access-key") };
        service.give(key);
        let file = service.key_file.clone();
        std::thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                let _ = socket.read(&mut [0; 4096]);
                let key = std::fs::read_to_string(&file).unwrap_or_default();
                let _ = socket.write_all(answer(&key).as_bytes());
            }
        });
        service
    }

    /// Hands out `key` from now on.
    pub fn give(&self, key: &str) {
        std::fs::write(&self.key_file, key).expect("the folder can be written");
    }

    /// Returns the environment variables with which a process asks this service.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", self.url.clone()),
            // Each request carries the content of this file, which the service ignores.
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", self.key_file.display().to_string()),
        ]
    }
}

fn answer(key: &str) -> String {
    let body = format!(
        r#"{{"AccessKeyId":"{key}","SecretAccessKey":"{SECRET_KEY}","Token":"","Expiration":"2099-01-01T00:00:00Z"}}"#
    );
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}
