//! Claims about ranges and digests.

use hyper::header::HeaderValue;

use super::*;

#[test]
fn one_range_of_bytes_is_served_and_all_else_is_all() {
    let asked = |text: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_str(text).unwrap());
        range(&headers, 10)
    };
    assert_eq!(asked("bytes=0-0"), Ranged::Part(0, 1));
    assert_eq!(asked("bytes=3-"), Ranged::Part(3, 10));
    assert_eq!(asked("bytes=9-99"), Ranged::Part(9, 10));
    assert_eq!(asked("bytes=-4"), Ranged::Part(6, 10));
    assert_eq!(asked("bytes=-99"), Ranged::Part(0, 10));
    assert_eq!(asked("bytes=10-"), Ranged::Beyond);
    assert_eq!(asked("bytes=-0"), Ranged::Beyond);
    for all in ["bytes=5-4", "bytes=0-1,3-4", "lines=0-1", "bytes=", "bytes=-", "bytes=a-b"] {
        assert_eq!(asked(all), Ranged::All, "{all}");
    }
    assert_eq!(range(&HeaderMap::new(), 10), Ranged::All);
}

#[test]
fn digests_are_read_or_refused() {
    let read = |lines: &[(&HeaderName, &str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        expected_digest(&headers).map_err(|problem| problem.code)
    };
    let digest = format!("sha-256=:{}:", STANDARD.encode([7; 32]));
    let other = format!("sha-256=:{}:", STANDARD.encode([8; 32]));
    assert_eq!(read(&[(&CONTENT_DIGEST, &digest)]), Ok(Some([7; 32])));
    let several = format!("sha-512=:AAAA:, {digest}");
    assert_eq!(read(&[(&REPR_DIGEST, &several)]), Ok(Some([7; 32])));
    assert_eq!(read(&[(&REPR_DIGEST, &digest), (&CONTENT_DIGEST, &digest)]), Ok(Some([7; 32])));
    assert_eq!(read(&[(&REPR_DIGEST, "sha-512=:AAAA:")]), Ok(None));
    assert_eq!(read(&[]), Ok(None));
    for wrong in ["sha-256=:AAAA:", "sha-256=abc", "sha-256", "sha-256=:!:"] {
        assert_eq!(read(&[(&CONTENT_DIGEST, wrong)]), Err("invalid_request"), "{wrong}");
    }
    let differ = read(&[(&REPR_DIGEST, &digest), (&CONTENT_DIGEST, &other)]);
    assert_eq!(differ, Err("invalid_request"));
}

#[test]
fn the_last_bytes_of_nothing_are_all_of_it() {
    let of = |range_of: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, range_of.parse().unwrap());
        range(&headers, 0)
    };
    assert_eq!(of("bytes=-5"), Ranged::All);
    assert_eq!(of("bytes=-0"), Ranged::Beyond);
    assert_eq!(of("bytes=0-"), Ranged::Beyond);
}
