//! Loops that do bounded pieces of work until the process stops.

use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::clock::SharedClock;
use crate::fresh::jittered;

/// The first wait after a failure; it doubles up to [`FAILURE_WAIT_MAX`].
const FAILURE_WAIT: Duration = Duration::from_millis(500);
/// The longest wait after failures: short enough that work goes on soon after an outage.
const FAILURE_WAIT_MAX: Duration = Duration::from_secs(30);

/// Runs `batch` again and again until `shutdown`.
///
/// `batch` does a bounded piece of work and says how much it did: after anything but 0 it is run again at once, after 0
/// when `interval` is over, `wake` is notified or the clock is moved. A failure or a panic is logged and followed by a
/// growing wait. A batch that has begun is let finish, so make it short.
pub fn spawn_loop<F, Fut, E>(
    name: &'static str,
    clock: SharedClock,
    interval: Duration,
    wake: Option<Arc<Notify>>,
    shutdown: CancellationToken,
    mut batch: F,
) -> JoinHandle<()>
where
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output = Result<usize, E>> + Send,
    E: Display + Send,
{
    let work = async move {
        let mut failures = 0_u32;
        // Held over rounds: what happens while a batch runs still ends the next wait.
        let mut moved = clock.moved();
        while !shutdown.is_cancelled() {
            // The call itself may panic as well as the future it makes.
            let round = AssertUnwindSafe(async { batch().await }).catch_unwind().await;
            let wait = match round {
                Ok(Ok(0)) => {
                    failures = 0;
                    interval
                }
                Ok(Ok(_)) => {
                    failures = 0;
                    tokio::task::yield_now().await;
                    continue;
                }
                Ok(Err(error)) => {
                    failures = failures.saturating_add(1);
                    tracing::warn!(loop.name = name, error = %error, "the {name} loop failed");
                    failure_wait(failures)
                }
                Err(_) => {
                    failures = failures.saturating_add(1);
                    tracing::error!(loop.name = name, "the {name} loop panicked; it goes on");
                    failure_wait(failures)
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
                () = notified(wake.as_deref()), if failures == 0 => {}
                _ = moved.changed() => {}
            }
        }
    };
    tokio::spawn(work.instrument(tracing::info_span!("loop", loop.name = name)))
}

fn failure_wait(failures: u32) -> Duration {
    let factor = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    jittered(FAILURE_WAIT.saturating_mul(factor).min(FAILURE_WAIT_MAX))
}

async fn notified(wake: Option<&Notify>) {
    match wake {
        Some(wake) => wake.notified().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use jiff::SignedDuration;
    use tokio::sync::mpsc;

    use super::*;
    use crate::clock::TestClock;

    const HOUR: Duration = Duration::from_secs(3600);

    fn clock() -> Arc<TestClock> {
        Arc::new(TestClock::frozen("2026-03-01T00:00:00Z".parse().unwrap()))
    }

    #[tokio::test]
    async fn a_loop_goes_on_while_there_is_work_and_wakes_by_notice_and_clock() {
        let (clock, wake, stop) = (clock(), Arc::new(Notify::new()), CancellationToken::new());
        let (rounds, mut seen) = mpsc::unbounded_channel();
        let count = Arc::new(AtomicUsize::new(0));
        let handle = spawn_loop("test", clock.clone(), HOUR, Some(wake.clone()), stop.clone(), move || {
            let round = count.fetch_add(1, Ordering::Relaxed);
            rounds.send(round).unwrap();
            async move { Ok::<_, std::fmt::Error>(2_usize.saturating_sub(round)) }
        });
        for expected in 0..3 {
            assert_eq!(seen.recv().await, Some(expected));
        }
        wake.notify_one();
        assert_eq!(seen.recv().await, Some(3));
        clock.advance_by(SignedDuration::from_secs(1));
        assert_eq!(seen.recv().await, Some(4));
        stop.cancel();
        handle.await.unwrap();
        assert!(seen.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_loop_survives_failures_and_panics() {
        let (clock, stop) = (clock(), CancellationToken::new());
        let (rounds, mut seen) = mpsc::unbounded_channel();
        let mut round = 0;
        let handle = spawn_loop("test", clock.clone(), HOUR, None, stop.clone(), move || {
            round += 1;
            rounds.send(round).unwrap();
            assert!(round != 2, "the second round panics on purpose");
            async move { if round == 1 { Err("the first round fails") } else { Ok(0) } }
        });
        for expected in 1..=3 {
            assert_eq!(seen.recv().await, Some(expected));
            // Cuts the wait after a failure short.
            clock.advance_by(SignedDuration::from_secs(60));
        }
        stop.cancel();
        handle.await.unwrap();
    }
}
