use super::{end_of_prefix, escape, just_after, unescape};

const NAMES: &[&str] = &[
    "",
    "\0",
    "\0\0",
    "\0\u{1}",
    "\u{1}",
    "\u{1}\0",
    "\u{1}\u{1}",
    "\u{1}\u{2}",
    "\u{2}",
    "a",
    "a\0",
    "a\0b",
    "a\u{1}",
    "a\u{2}",
    "ab",
    "é",
    "\u{d7ff}",
    "\u{e000}",
    "\u{ffff}",
    "😀",
    "\u{10ffff}",
    "\u{10ffff}a",
];

#[test]
fn names_come_back_and_keep_their_order() {
    for one in NAMES {
        let stored = escape(one);
        assert!(!stored.contains('\0'), "{one:?}");
        assert_eq!(unescape(&stored).as_deref(), Some(*one), "{one:?}");
        for other in NAMES {
            assert_eq!(stored.cmp(&escape(other)), one.cmp(other), "{one:?} {other:?}");
            assert_eq!(stored.starts_with(&*escape(other)), one.starts_with(other));
        }
    }
}

#[test]
fn what_nobody_escaped_is_refused() {
    for stored in ["\u{1}", "a\u{1}", "\u{1}a", "\u{1}\u{3}"] {
        assert_eq!(unescape(stored), None, "{stored:?}");
    }
}

#[test]
fn the_end_of_a_prefix_is_after_all_that_begin_so() {
    for prefix in NAMES {
        let (prefix, end) = (escape(prefix), end_of_prefix(&escape(prefix)));
        for name in NAMES {
            let name = escape(name);
            let within = *prefix <= *name && end.as_deref().is_none_or(|end| *name < *end);
            assert_eq!(within, name.starts_with(&*prefix), "{prefix:?} {name:?}");
        }
    }
    assert_eq!(end_of_prefix("a"), Some("b".to_owned()));
    assert_eq!(end_of_prefix("\u{d7ff}"), Some("\u{e000}".to_owned()));
    assert_eq!(end_of_prefix("a\u{10ffff}"), Some("b".to_owned()));
}

#[test]
fn nothing_is_between_a_name_and_just_after_it() {
    for one in NAMES {
        let after = just_after(&escape(one));
        for other in NAMES {
            assert_eq!(*escape(other) < *after, other <= one, "{one:?} {other:?}");
        }
    }
}
