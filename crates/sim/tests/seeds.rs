//! The seeds of a test run: `IRONCLAD_SIM_SEEDS` many from `IRONCLAD_SIM_FIRST` on.

use sim::Sabotage;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[test]
fn all_seeds_hold() {
    let (first, count) = (number("IRONCLAD_SIM_FIRST", 0), number("IRONCLAD_SIM_SEEDS", 200));
    let report = sim::run(first, count);
    println!("{report}");
    assert!(report.failed.is_empty(), "{report}");
    if count >= ENOUGH {
        let names: Vec<_> = report.planned.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names, sim::controller_names());
        let idle = report
            .planned
            .iter()
            .filter(|(name, plans, writes)| (*plans == 0 || *writes == 0) && !PATIENT.contains(name));
        let idle: Vec<_> = idle.collect();
        assert!(idle.is_empty(), "these controllers had nothing to do in {count} seeds: {idle:?}");
    }
}

/// So many seeds give every controller something to do,
const ENOUGH: u64 = 150;
/// but for those that wait longer than a seed lives.
const PATIENT: [&str; 1] = ["csrcleaner"];

/// Runs a few seeds with something broken, and tells whether any checker said `expected`.
fn is_told(sabotage: Sabotage, expected: &str) -> bool {
    (0..6).any(|seed| sim::run_broken(seed, sabotage).violations.iter().any(|v| v.contains(expected)))
}

#[test]
fn what_is_broken_on_purpose_is_found_out() {
    for (sabotage, expected) in [
        (Sabotage::Doubled("replicaset-controller"), "a set has no more pods than it asks for"),
        (Sabotage::Absent("deployment-controller"), "workloads are as wanted"),
        (Sabotage::Absent("endpoint-slice-controller"), "endpoints are the ready pods"),
        (Sabotage::Deaf, "holds something else than the store"),
    ] {
        assert!(is_told(sabotage, expected), "{sabotage:?} was not found out");
    }
}

#[test]
fn the_same_seed_lives_the_same_life() {
    for seed in 100..104 {
        let (a, b) = (sim::run_one(seed), sim::run_one(seed));
        assert_eq!((a.revisions, a.story), (b.revisions, b.story), "seed {seed}");
    }
}

/// `IRONCLAD_SIM_FIRST=7 cargo test --package sim one_seed -- --ignored --nocapture`
#[test]
#[ignore = "for looking into one seed"]
fn one_seed() {
    let outcome = sim::run_one(number("IRONCLAD_SIM_FIRST", 0));
    println!("{outcome:#?}");
}
