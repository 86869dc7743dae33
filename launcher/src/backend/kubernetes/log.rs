//! Reads the log of a pod from its first line to its last, each line once, however often the connection breaks.

use std::time::Duration;

use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, LogParams};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

/// Pause before a log that broke off is requested again.
const PAUSE: Duration = Duration::from_millis(500);

/// The log of a pod.
pub struct Log {
    /// API for the pods of the namespace.
    pub pods: Api<Pod>,
    /// Name of the pod.
    pub pod: String,
    /// Whether the pod is known to have ended.
    pub has_ended: watch::Receiver<bool>,
}

impl Log {
    /// Sends every line, without its time, until the pod has ended and its whole log has been read.
    pub async fn read(self, lines: UnboundedSender<String>) {
        let mut last = None;
        loop {
            // A pod that had ended before the request prints nothing more.
            let had_ended = *self.has_ended.borrow();
            match self.read_on(&mut last, &lines).await {
                Ok(()) if had_ended => return,
                Err(kube::Error::Api(status)) if had_ended && status.code == 404 => return,
                Ok(()) => {}
                Err(error) => tracing::debug!("the log of pod {} broke off: {error}", self.pod),
            }
            if lines.is_closed() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Sends what was printed after `last`, for as long as the connection holds.
    async fn read_on(&self, last: &mut Option<Timestamp>, lines: &UnboundedSender<String>) -> kube::Result<()> {
        let parameters = LogParams { follow: true, timestamps: true, since_time: *last, ..LogParams::default() };
        let mut printed = self.pods.log_stream(&self.pod, &parameters).await?.lines();
        while let Some(line) = printed.try_next().await.map_err(kube::Error::ReadEvents)? {
            let (at, text) = split_time(&line);
            // The requested time is rounded to seconds, so some lines come again.
            if at.is_some() && at <= *last {
                continue;
            }
            *last = at.or(*last);
            if lines.send(text.to_owned()).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Splits `2026-01-31T10:00:00.123456789Z text`, as the API server puts the time before a line.
fn split_time(line: &str) -> (Option<Timestamp>, &str) {
    match line.split_once(' ') {
        Some((time, text)) => match time.parse() {
            Ok(time) => (Some(time), text),
            Err(_) => (None, line),
        },
        None => (line.parse().ok(), if line.parse::<Timestamp>().is_ok() { "" } else { line }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_split_off() {
        let time = "2026-01-31T10:00:00.12Z";
        let earlier: Timestamp = time.parse().unwrap();
        let at = Some(earlier);
        assert_eq!(split_time(&format!("{time} loss 3")), (at, "loss 3"));
        assert_eq!(split_time(time), (at, ""));
        assert_eq!(split_time("loss 3"), (None, "loss 3"));
        // Times compare by value, however many digits they are written with.
        assert!("2026-01-31T10:00:00.123Z".parse::<Timestamp>().unwrap() > earlier);
    }
}
