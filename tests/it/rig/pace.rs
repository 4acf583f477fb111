//! Whether trouble of other streams slows a stream down.
//!
//! Two services that are the same take the same requests in turn, one at a time, while the others of one of them are in
//! trouble; then the two change places. Whatever else the machine is at meets both alike, and what else differs between
//! them cancels out. On a machine with four times as much to do as it can, where nobody is in trouble, one half finds a
//! ratio of 1.01 with a deviation of 0.04, of all requests of 0.09.

use crate::rig::service::{Client, Service};
use std::time::Instant;

/// Of each service in each half, behind those that only warm it up.
const PUTS: usize = 800;
const WARM_UP: usize = 100;
/// Of the requests these are compared, the fastest: on whom the disk's and the machine's bad moments come is chance.
const USUAL_SHARE: f64 = 0.75;
const USUAL_RATIO_MIN: f64 = 0.9;
/// Of all requests. A stream that is held up now and then loses more than chance takes.
const RATIO_MIN: f64 = 0.7;

/// Seconds that each request took while nobody was in trouble, and while others were.
#[derive(Default)]
pub struct Pace {
    calm: Vec<f64>,
    troubled: Vec<f64>,
}

impl Pace {
    /// Half of it: puts these records into the stream of either service.
    pub fn half(&mut self, calm: &Service, troubled: &Service, stream: &str, records: &[Vec<u8>]) {
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        let put = |client: Client| {
            let began = Instant::now();
            assert_eq!(client.put(stream, &records), 200);
            began.elapsed().as_secs_f64()
        };
        for i in 0..WARM_UP + PUTS {
            // Who comes second finds the disk as the first left it.
            let (calm, troubled) = if i % 2 == 0 {
                let calm = put(calm.client());
                (calm, put(troubled.client()))
            } else {
                let troubled = put(troubled.client());
                (put(calm.client()), troubled)
            };
            if i >= WARM_UP {
                self.calm.push(calm);
                self.troubled.push(troubled);
            }
        }
    }

    pub fn assert_same(&self) {
        let compare = |share: f64| {
            let [calm, troubled] = [&self.calm, &self.troubled].map(|seconds| rate(seconds, share));
            (
                troubled / calm,
                format!("{calm:.0} requests/s, {troubled:.0} with others in trouble: {:.3}", troubled / calm),
            )
        };
        let ((usual, usual_text), (all, all_text)) = (compare(USUAL_SHARE), compare(1.0));
        println!("{usual_text}; of all {all_text}");
        assert!(usual >= USUAL_RATIO_MIN, "{usual_text}, expected {USUAL_RATIO_MIN}");
        assert!(all >= RATIO_MIN, "held up now and then: {all_text}, expected {RATIO_MIN}");
    }
}

/// Requests in a second, of this share of them.
fn rate(seconds: &[f64], share: f64) -> f64 {
    let mut seconds = seconds.to_vec();
    seconds.sort_by(f64::total_cmp);
    seconds.truncate((seconds.len() as f64 * share) as usize);
    seconds.len() as f64 / seconds.iter().sum::<f64>()
}

#[test]
fn what_is_slower_always_or_now_and_then_is_noticed() {
    let calm = vec![0.002; 1000];
    let with = |troubled: Vec<f64>| {
        let pace = Pace { calm: calm.clone(), troubled };
        std::panic::catch_unwind(|| pace.assert_same()).is_ok()
    };
    assert!(with(vec![0.0021; 1000]));
    assert!(!with(vec![0.0023; 1000]), "each one");
    let mut stalls = calm.clone();
    stalls.iter_mut().step_by(100).for_each(|seconds| *seconds += 0.1);
    assert!(!with(stalls), "each hundredth");
}
