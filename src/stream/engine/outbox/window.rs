//! How many plans a destination is given at once: one more as long as it answers as fast as it did, half as many when it
//! says that it is busy or becomes slow (additive increase, multiplicative decrease).

use std::time::Duration;

/// An answer that takes so much longer than the fastest ones do says that more at once is too much,
const SLOW: f64 = 4.0;
/// unless it is shorter than this all the same.
const SLOW_MIN: Duration = Duration::from_millis(250);
/// Of the distance between the fastest answer known and a new one: what was fast once is not for ever.
const FORGETS: f64 = 0.02;

/// How many plans a destination is given at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    size: f64,
    /// Seconds.
    fastest: f64,
}

impl Default for Window {
    fn default() -> Self {
        Window { size: 1.0, fastest: f64::INFINITY }
    }
}

impl Window {
    /// How many may be under way, of at most `max`.
    pub(super) fn allowed(&self, max: usize) -> usize {
        (self.size as usize).clamp(1, max.max(1))
    }

    /// Takes note of an answer: whether all was well, whether the destination is busy, and how long it took.
    pub(super) fn answered(&mut self, taken: bool, busy: bool, took: Duration, max: usize) {
        let seconds = took.as_secs_f64();
        let is_slow = took > SLOW_MIN && seconds > SLOW * self.fastest;
        if busy || is_slow {
            self.size = (self.size / 2.0).max(1.0);
        } else if taken {
            self.size = (self.size + 1.0 / self.size).min(max as f64);
        }
        if taken {
            let slower = if self.fastest.is_finite() { (seconds - self.fastest).max(0.0) } else { 0.0 };
            self.fastest = seconds.min(self.fastest + FORGETS * slower);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_one_by_one_and_halves_at_once() {
        let millis = Duration::from_millis;
        let mut window = Window::default();
        assert_eq!(window.allowed(8), 1);
        (0..60).for_each(|_| window.answered(true, false, millis(10), 8));
        assert_eq!(window.allowed(8), 8);
        window.answered(false, true, millis(10), 8);
        assert_eq!(window.allowed(8), 4);
        window.answered(true, false, millis(900), 8);
        assert_eq!(window.allowed(8), 2, "a slow answer is a sign too");
        (0..9).for_each(|_| window.answered(false, true, millis(1), 8));
        assert_eq!(window.allowed(8), 1);
        window.answered(true, false, millis(200), 8);
        assert_eq!(window.allowed(8), 2, "what is slow but short is not congestion");
    }
}
