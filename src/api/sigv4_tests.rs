use super::*;

#[test]
fn the_scope_names_the_whole_day() {
    let skew = Duration::from_secs(900);
    let check = |scope: &str| check_time("20150830T123600Z", scope, 1_440_938_160, skew).map_err(|e| e.code);
    assert_eq!(check("20150830"), Ok(()));
    for scope in ["", "2", "2015083", "20150830T", "20150831", "20150830T123600Z"] {
        assert_eq!(check(scope), Err("InvalidSignatureException"), "scope date `{scope}`");
    }
}
