//! The seeds of a test run: `IRONCLAD_SIM_SEEDS` many from `IRONCLAD_SIM_FIRST` on.

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[test]
fn all_seeds_hold() {
    let (first, count) = (number("IRONCLAD_SIM_FIRST", 0), number("IRONCLAD_SIM_SEEDS", 200));
    let report = sim::run(first, count);
    println!("{report}");
    assert!(report.failed.is_empty(), "{report}");
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
