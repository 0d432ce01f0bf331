//! The one source of business time. A movable clock lets a newcomer or a test live a month in a minute.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tandem_proto::common::v1::clock_service_server::ClockServiceServer;
use tandem_proto::common::v1::{
    AdvanceClockRequest, AdvanceClockResponse, GetClockRequest, GetClockResponse, clock_service_server,
};
use tandem_proto::reason::Reason;
use tokio::sync::watch;

use crate::fault::Fault;
use crate::validate;

/// Business time. Every rule and every row takes its time from here.
pub trait Clock: Send + Sync + 'static {
    /// The business time, truncated to microseconds, which is what databases keep.
    fn now(&self) -> Timestamp;
    /// Changes whenever the clock is moved; loops wake up on it.
    fn moved(&self) -> watch::Receiver<u64>;
    /// The movable clock behind this one, if it is one.
    fn as_test(&self) -> Option<&TestClock> {
        None
    }
}

/// A clock shared by everything in a process.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own time.
#[derive(Debug)]
pub struct SystemClock {
    moved: watch::Sender<u64>,
}

impl SystemClock {
    /// Makes the clock.
    pub fn new() -> SystemClock {
        SystemClock { moved: watch::Sender::new(0) }
    }

    /// Makes the clock, ready to be shared.
    pub fn shared() -> SharedClock {
        Arc::new(SystemClock::new())
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the machine's time for business"
    )]
    fn now(&self) -> Timestamp {
        whole_micros(Timestamp::now())
    }

    fn moved(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }
}

/// A clock that starts anywhere and is moved forward by hand; it never goes back.
///
/// It runs on by itself between moves, so that leases and back-off work, unless it was made [`TestClock::frozen`].
#[derive(Debug)]
pub struct TestClock {
    base: Mutex<(Timestamp, Instant)>,
    runs: bool,
    moved: watch::Sender<u64>,
}

impl TestClock {
    /// Makes a clock that starts at `start` and runs on.
    pub fn new(start: Timestamp) -> TestClock {
        TestClock::make(start, true)
    }

    /// Makes a clock that stands still except when it is moved.
    pub fn frozen(start: Timestamp) -> TestClock {
        TestClock::make(start, false)
    }

    fn make(start: Timestamp, runs: bool) -> TestClock {
        let base = Mutex::new((whole_micros(start), Instant::now()));
        TestClock { base, runs, moved: watch::Sender::new(0) }
    }

    /// Moves the clock forward and wakes whoever waits; a time that has passed changes nothing. Returns the time now.
    pub fn advance_to(&self, time: Timestamp) -> Timestamp {
        {
            let mut base = self.base.lock().unwrap_or_else(PoisonError::into_inner);
            let time = whole_micros(time);
            if time <= self.read(*base) {
                return self.read(*base);
            }
            *base = (time, Instant::now());
        }
        self.moved.send_modify(|count| *count = count.wrapping_add(1));
        self.now()
    }

    /// Moves the clock forward by a span.
    pub fn advance_by(&self, span: SignedDuration) -> Timestamp {
        self.advance_to(self.now().saturating_add(span).unwrap_or(Timestamp::MAX))
    }

    fn read(&self, (base, since): (Timestamp, Instant)) -> Timestamp {
        if !self.runs {
            return base;
        }
        let elapsed = SignedDuration::try_from(since.elapsed()).unwrap_or(SignedDuration::MAX);
        whole_micros(base.saturating_add(elapsed).unwrap_or(Timestamp::MAX))
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.read(*self.base.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn moved(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    fn as_test(&self) -> Option<&TestClock> {
        Some(self)
    }
}

/// Cuts a time to the microseconds that databases keep.
pub fn whole_micros(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

/// Waits for a span of real time, or less when the clock is moved meanwhile.
pub async fn sleep_or_moved(clock: &dyn Clock, d: Duration) {
    let mut moved = clock.moved();
    tokio::select! {
        () = tokio::time::sleep(d) => {}
        // The sender lives in the clock, which the caller borrows, so this never ends by a closed channel.
        _ = moved.changed() => {}
    }
}

/// `tandem.common.v1.ClockService`, for a process on a movable clock.
#[derive(Clone)]
pub struct ClockService {
    clock: SharedClock,
}

impl ClockService {
    /// Makes the gRPC service; `None` when the clock cannot be moved, because then it must not be served.
    pub fn server(clock: &SharedClock) -> Option<ClockServiceServer<ClockService>> {
        clock.as_test()?;
        Some(ClockServiceServer::new(ClockService { clock: Arc::clone(clock) }))
    }
}

#[tonic::async_trait]
impl clock_service_server::ClockService for ClockService {
    async fn get_clock(
        &self,
        _request: tonic::Request<GetClockRequest>,
    ) -> Result<tonic::Response<GetClockResponse>, tonic::Status> {
        let now_time = Some(validate::to_message(self.clock.now()));
        Ok(tonic::Response::new(GetClockResponse { now_time }))
    }

    async fn advance_clock(
        &self,
        request: tonic::Request<AdvanceClockRequest>,
    ) -> Result<tonic::Response<AdvanceClockResponse>, tonic::Status> {
        let request = request.into_inner();
        validate::request_id(&request.request_id)?;
        let to = validate::timestamp("to_time", request.to_time)?;
        let clock = self.clock.as_test().ok_or(Fault::new(Reason::ClockNotMovable))?;
        let now_time = Some(validate::to_message(clock.advance_to(to)));
        Ok(tonic::Response::new(AdvanceClockResponse { now_time }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_moved_clock_never_goes_back() {
        let clock = TestClock::frozen(time("2026-03-01T00:00:00.123456789Z"));
        assert_eq!(clock.now(), time("2026-03-01T00:00:00.123456Z"));
        let moved = clock.moved();
        assert_eq!(clock.advance_to(time("2026-02-01T00:00:00Z")), time("2026-03-01T00:00:00.123456Z"));
        assert!(!moved.has_changed().unwrap());
        assert_eq!(clock.advance_to(time("2026-04-01T00:00:00Z")), time("2026-04-01T00:00:00Z"));
        assert!(moved.has_changed().unwrap());
    }

    #[test]
    fn a_running_clock_runs_on_from_where_it_was_moved() {
        let clock = TestClock::new(time("2026-03-01T00:00:00Z"));
        clock.advance_to(time("2026-04-01T00:00:00Z"));
        let first = clock.now();
        while clock.now() == first {
            std::hint::spin_loop();
        }
        assert!(clock.now() > first && first >= time("2026-04-01T00:00:00Z"));
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_clock_is_moved() {
        let clock = Arc::new(TestClock::frozen(time("2026-03-01T00:00:00Z")));
        let sleeper = {
            let clock = Arc::clone(&clock);
            tokio::spawn(async move { sleep_or_moved(clock.as_ref(), Duration::from_secs(3600)).await })
        };
        while clock.moved.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
        clock.advance_by(SignedDuration::from_secs(1));
        sleeper.await.unwrap();
    }

    #[test]
    fn the_clock_service_exists_only_for_a_movable_clock() {
        assert!(ClockService::server(&SystemClock::shared()).is_none());
        let clock: SharedClock = Arc::new(TestClock::frozen(time("2026-03-01T00:00:00Z")));
        assert!(ClockService::server(&clock).is_some());
    }
}
