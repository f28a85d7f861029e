use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::*;

fn recorder() -> Recorder {
    let clock = AtomicU64::new(0);
    Recorder::new(Header::of("kit"), Box::new(move || clock.fetch_add(1, Ordering::SeqCst)))
}

#[test]
fn lines_stand_in_the_order_of_their_stamps_whoever_adds_them() {
    let recorder = recorder();
    std::thread::scope(|threads| {
        for client in 0..8 {
            let recorder = &recorder;
            threads.spawn(move || {
                for _ in 0..100 {
                    let op = recorder.invoke(Sent { proc: client.to_string(), ..Sent::default() });
                    recorder.ended(op, End::Unknown("cut".to_owned()));
                }
            });
        }
    });
    let history = recorder.finish();
    let (mut ops, mut last) = (0, None);
    for line in &history.lines {
        let t = if let Line::Invoke(invoke) = line {
            ops += 1;
            assert_eq!(invoke.op, ops, "an operation has a number of its own");
            invoke.t
        } else {
            let Line::Unknown(broke) = line else { panic!("{line:?}") };
            broke.t
        };
        assert!(last < Some(t));
        last = Some(t);
    }
    assert_eq!(ops, 800);
}

#[test]
fn what_was_recorded_can_be_read_again() {
    let recorder = recorder();
    let op = recorder.invoke(Sent { key: Some("k".to_owned()), ..Sent::default() });
    recorder.fault("the store is cut off");
    recorder.ended(op, End::Rejected(Rejected { code: "no".to_owned(), ..Rejected::default() }));
    let op = recorder.invoke(Sent::default());
    recorder.ended(op, End::Read(Read { reply: json!({"used": 1}), ..Read::default() }));
    recorder.note("quiet");
    recorder.resolved("p", "k", None);
    recorder.resolved("p", "l", Some(json!({"at": "1970-01-01T00:00:00Z"})));
    let so_far = recorder.so_far();
    let history = recorder.finish();
    assert_eq!(so_far, history);
    let mut bytes = Vec::new();
    history.write(&mut bytes).unwrap();
    assert_eq!(History::read(&bytes[..]).unwrap(), history);
}
