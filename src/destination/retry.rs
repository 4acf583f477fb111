//! When to try again. A store that is to have an object in the end is asked with full jitter, so that many streams do not
//! return to a recovering store in step (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>); a
//! destination that is given up on some time, as Firehose asks it (docs/firehose.md: "Buffering and retries", "HTTP endpoints", "Redshift").

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Somebody has to act first; asking more often would only fill logs.
const MISCONFIGURED_MAX: Duration = Duration::from_secs(15);

/// The pause before attempt `attempt + 1`. `random` is in 0..1.
pub fn pause(attempt: u32, misconfigured: bool, random: f64) -> Duration {
    let cap = if misconfigured { MISCONFIGURED_MAX } else { RETRY_MAX };
    let window = FIRST.saturating_mul(1 << attempt.min(16)).min(cap);
    // Never zero: an answer that comes at once must not turn into a busy loop.
    FIRST / 4 + window.mul_f64(random)
}

/// How a destination that refuses is asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For so long: Firehose's `RetryOptions.DurationInSeconds`.
    pub duration: Duration,
    pub pace: RetryPace,
}

/// The pauses between attempts, and what of the time counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryPace {
    /// Twice as long each time, plus or minus 15 percent. What counts is the pauses, not the waiting for answers.
    Doubling { first: Duration, max: Duration },
    /// Always the same. All time since the first attempt began counts.
    Every(Duration),
}

impl Patience {
    /// The pause after the `refusals`-th refusal, from 1; `None`: it is given up. `paused` is the sum of the pauses,
    /// `since_first` the time since the first attempt began, `random` in 0..1.
    pub fn pause(&self, refusals: u32, paused: Duration, since_first: Duration, random: f64) -> Option<Duration> {
        let (pause, spent) = match self.pace {
            RetryPace::Doubling { first, max } => {
                let window = first.saturating_mul(1 << (refusals - 1).min(16)).min(max);
                (window.mul_f64(0.85 + 0.3 * random), paused)
            }
            RetryPace::Every(pause) => (pause, since_first),
        };
        // The last attempt is made when the time is over, not long before.
        let left = self.duration.saturating_sub(spent);
        (!left.is_zero()).then_some(pause.min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_end_with_the_duration() {
        let seconds = Duration::from_secs;
        let pace = RetryPace::Doubling { first: seconds(1), max: seconds(120) };
        let patience = Patience { duration: seconds(600), pace };
        let pause = |n, paused| patience.pause(n, paused, seconds(9999), 0.5);
        let first: Vec<_> = (1..=9).map(|n| pause(n, seconds(0)).unwrap().as_secs()).collect();
        assert_eq!(first, [1, 2, 4, 8, 16, 32, 64, 120, 120]);
        assert_eq!((pause(9, seconds(590)), pause(9, seconds(600))), (Some(seconds(10)), None));
        assert_eq!(patience.pause(1, seconds(0), seconds(0), 0.0), Some(Duration::from_millis(850)));
        let none = Patience { duration: seconds(0), ..patience };
        assert_eq!(none.pause(1, seconds(0), seconds(0), 0.5), None);
    }

    #[test]
    fn a_fixed_pace_counts_from_the_first_attempt() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let patience = Patience { duration: minutes(60), pace: RetryPace::Every(minutes(5)) };
        assert_eq!(patience.pause(1, minutes(0), minutes(1), 0.9), Some(minutes(5)));
        assert_eq!(patience.pause(1, minutes(0), minutes(58), 0.9), Some(minutes(2)));
        assert_eq!(patience.pause(1, minutes(0), minutes(61), 0.9), None, "the first attempt took longer than that");
    }
}
