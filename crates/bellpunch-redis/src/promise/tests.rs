use super::*;

fn answers(settings: &[(&str, &str)], info: &[(&str, &str)]) -> Answers {
    let owned = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let mut all: BTreeMap<String, String> = Answers::info(
        "# Server\r\nredis_version:7.0.15\r\nrole:master\r\nloading:0\r\nconnected_slaves:0\r\n\
         cluster_enabled:0\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n",
    );
    all.extend(owned(info));
    Answers { info: all, settings: owned(settings) }
}

const DURABLE: &[(&str, &str)] = &[
    ("appendonly", "yes"),
    ("appendfsync", "always"),
    ("no-appendfsync-on-rewrite", "no"),
    ("maxmemory-policy", "noeviction"),
];

#[test]
fn promises_the_machine_only_if_each_commit_is_synced() {
    let durable = answers(DURABLE, &[]).promise(Way::Address).unwrap();
    assert_eq!(durable, Promise { survives: Survives::Machine, risk: None });
    for (name, value, survives) in [
        ("appendonly", "no", Survives::Nothing),
        ("appendfsync", "everysec", Survives::Process),
        ("appendfsync", "no", Survives::Process),
        // Then nothing is synced while the file is rewritten.
        ("no-appendfsync-on-rewrite", "yes", Survives::Process),
    ] {
        let mut answers = answers(DURABLE, &[]);
        answers.settings.insert(name.to_owned(), value.to_owned());
        let promise = answers.promise(Way::Address).unwrap();
        let expected = Promise { survives, risk: Some(Risk::LostOnCrash) };
        assert_eq!(promise, expected, "{name} {value}");
    }
    // What is not told is not there.
    let hidden = answers(&[], &[]).promise(Way::Address).unwrap();
    assert_eq!(hidden.risk, Some(Risk::LostOnCrash));
}

#[test]
fn says_that_a_failover_loses_wherever_there_may_be_one() {
    let lost = Some(Risk::LostOnFailover);
    let plain = answers(DURABLE, &[]);
    assert_eq!(plain.promise(Way::Failover).unwrap().risk, lost);
    for line in [("connected_slaves", "1"), ("cluster_enabled", "1")] {
        let promise = answers(DURABLE, &[line]).promise(Way::Address).unwrap();
        assert_eq!(promise.risk, lost, "{line:?}");
    }
}

#[test]
fn refuses_what_has_no_name() {
    for line in [
        ("redis_version", "6.0.16"),
        ("redis_version", "what"),
        ("role", "slave"),
        ("role", "sentinel"),
    ] {
        let refusal = answers(DURABLE, &[line]).promise(Way::Address).unwrap_err();
        assert!(matches!(refusal, Refusal::Unsafe(_)), "{line:?}");
    }
    for policy in ["allkeys-lru", "volatile-ttl"] {
        let told = answers(&[("maxmemory-policy", policy)], &[]);
        let by_info = answers(&[], &[("maxmemory_policy", policy)]);
        for answers in [told, by_info] {
            let refusal = answers.promise(Way::Address).unwrap_err();
            assert!(matches!(refusal, Refusal::Unsafe(_)), "{policy}");
        }
    }
    for version in ["6.2.0", "7.0.15", "8.0.2"] {
        assert!(answers(DURABLE, &[("redis_version", version)]).promise(Way::Address).is_ok());
    }
    let loading = answers(DURABLE, &[("loading", "1")]).promise(Way::Address).unwrap_err();
    assert!(matches!(loading, Refusal::NotReady(_)));
}

#[test]
fn a_server_that_becomes_weaker_does_not_hold_its_promise() {
    let of = |survives, risk| Promise { survives, risk };
    let machine = of(Survives::Machine, None);
    let failover = of(Survives::Machine, Some(Risk::LostOnFailover));
    let crash = of(Survives::Process, Some(Risk::LostOnCrash));
    let nothing = of(Survives::Nothing, Some(Risk::LostOnCrash));
    let weaker = [machine, failover, crash, nothing];
    for (place, promised) in weaker.into_iter().enumerate() {
        for (other, found) in weaker.into_iter().enumerate() {
            assert_eq!(found.holds(promised), other <= place, "{promised:?} {found:?}");
        }
    }
    assert_eq!(machine.accepting(Some(Risk::LostOnFailover)), failover);
    assert_eq!(crash.accepting(Some(Risk::LostOnFailover)), crash);
    assert_eq!(machine.accepting(Some(Risk::LostOnCrash)), crash);
    assert_eq!(machine.and(crash), crash);
}
