//! A slow link between a server and its clients: a request takes a while to arrive, and all answers share a bandwidth.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyStream, StreamBody};

/// Longest idle time of the link that is made up for: timers are late, on a busy machine by many milliseconds.
const CATCH_UP: Duration = Duration::from_millis(100);
/// Time within which bytes that arrive are handed over at once: a timer for each 4 KiB would itself be slow.
const AT_ONCE: Duration = Duration::from_millis(2);

/// A link, with what is on it now.
#[derive(Debug, Default)]
pub struct Link {
    /// How long a request is on its way.
    pub latency: Duration,
    /// Bandwidth that the bodies of all answers share; 0 is no limit.
    pub bytes_per_second: u64,
    free_at: Mutex<Option<Instant>>,
}

impl Link {
    /// Returns whether the link is slower than no link at all.
    pub fn is_slow(&self) -> bool {
        self.bytes_per_second > 0 || !self.latency.is_zero()
    }

    /// Returns `body` as it comes out at the other end.
    pub(crate) fn carry(self: Arc<Self>, body: UnsyncBoxBody<Bytes, io::Error>) -> UnsyncBoxBody<Bytes, io::Error> {
        if self.bytes_per_second == 0 {
            return body;
        }
        let frames = BodyStream::new(body).then(move |frame| {
            let bytes = frame.as_ref().ok().and_then(|frame| frame.data_ref()).map_or(0, Bytes::len);
            let arrives = self.arrival(bytes, Instant::now());
            async move {
                if arrives > Instant::now() + AT_ONCE {
                    tokio::time::sleep_until(arrives.into()).await;
                }
                frame
            }
        });
        UnsyncBoxBody::new(StreamBody::new(frames))
    }

    /// Returns when `bytes` that are put on the link `now` have arrived, after all that were put on it before.
    fn arrival(&self, bytes: usize, now: Instant) -> Instant {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let start = free_at.map_or(now, |at| at.max(now - CATCH_UP));
        let arrives = start + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        *free_at = Some(arrives);
        arrives
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_on_at_once_arrives_one_after_the_other() {
        let link = Link { bytes_per_second: 1000, ..Link::default() };
        let now = Instant::now();
        let after = |bytes, at: u64| link.arrival(bytes, now + Duration::from_millis(at)) - now;
        assert_eq!(after(100, 0), Duration::from_millis(100));
        assert_eq!(after(300, 0), Duration::from_millis(400));
        // The link was idle for long: only a moment of that counts.
        assert_eq!(after(100, 5000), Duration::from_millis(5000));
    }
}
