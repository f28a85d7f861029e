use super::*;

#[test]
fn knows_what_stopped_a_script_whichever_release_says_it() {
    for (text, kind) in [
        // 7.0, and 6.2.
        ("OOM command not allowed when used memory > 'maxmemory'.", FailureKind::Full),
        ("@user_script: 9: -OOM command not allowed when used memory", FailureKind::Full),
        ("READONLY You can't write against a read only replica.", FailureKind::Unavailable),
        ("MISCONF Errors writing to the AOF file: No space left on device", FailureKind::Full),
        ("MISCONF Errors writing to the AOF file: Input/output error", FailureKind::Unavailable),
        ("WRONGTYPE Operation against a key", FailureKind::Unavailable),
    ] {
        assert_eq!(of_script(text).kind(), kind, "{text}");
    }
}
