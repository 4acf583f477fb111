//! A MinIO of its own for a test that stops it, and a stream that is filled.

use super::service::{PATIENCE, Service, variable};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A MinIO of the test's own, to be stopped and started.
pub struct Store {
    dir: tempfile::TempDir,
    pub address: SocketAddr,
    child: Option<Child>,
}

impl Store {
    pub fn start() -> Store {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut store = Store { dir: tempfile::tempdir().unwrap(), address, child: None };
        store.run();
        store
    }

    pub fn run(&mut self) {
        let console = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(variable("HYDRANT_TEST_MINIO"))
            .args(["server", "--quiet", "--address", &self.address.to_string()])
            .args(["--console-address", &console.to_string()])
            .arg(self.dir.path())
            .env("MINIO_ROOT_USER", "tests")
            .env("MINIO_ROOT_PASSWORD", "tests-secret")
            .envs([("MINIO_BROWSER", "off"), ("MINIO_UPDATE", "off"), ("MINIO_CI_CD", "1")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start MinIO");
        self.child = Some(child);
        let began = Instant::now();
        let ready = b"GET /minio/health/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        while crate::rig::service::exchange(self.address, ready).is_none_or(|(status, _)| status != 200) {
            assert!(began.elapsed() < PATIENCE, "MinIO is not ready");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// MinIO takes a directory for a bucket.
    pub fn make_bucket(&self, name: &str) {
        std::fs::create_dir(self.dir.path().join(name)).unwrap();
    }

    /// Objects of a bucket: MinIO keeps each in a directory with this file.
    pub fn objects(&self, bucket: &str) -> Vec<String> {
        let (mut found, mut dirs) = (Vec::new(), vec![self.dir.path().join(bucket)]);
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                if path.ends_with("xl.meta") {
                    found.push(dir.strip_prefix(self.dir.path()).unwrap().display().to_string());
                } else if path.is_dir() {
                    dirs.push(path);
                }
            }
        }
        found
    }

    pub fn stream(&self, name: &str, bucket: &str, secret: &str) -> String {
        format!(
            "  {name}:\n    format: lines\n    buffer: {{ size: 1MiB, interval: 1s }}\n    destination:\n      s3: {{ \
             bucket: {bucket}, prefix: \"{name}/\", endpoint: \"http://{}\", access_key_id: tests, secret_access_key: \
             \"{secret}\", timeout: 5s }}\n",
            self.address
        )
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Puts 1 MiB batches into `stream` until one is refused; counts those taken.
pub fn fill(service: &Service, stream: &str, batches_max: u64) -> u64 {
    let record = vec![b'x'; 100_000];
    let records = [record.as_slice(); 10];
    for taken in 0..batches_max {
        match service.put(stream, &records) {
            200 => {}
            503 => return taken,
            other => panic!("status {other}, expected 200 or 503"),
        }
    }
    panic!("{batches_max} MB were taken and none was refused");
}
