//! The seeds of a test run: `IRONCLAD_SIM_SEEDS` many from `IRONCLAD_SIM_FIRST` on.

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[test]
fn all_seeds_hold() {
    let (first, count) = (number("IRONCLAD_SIM_FIRST", 0), number("IRONCLAD_SIM_SEEDS", 20));
    let report = sim::run(first, count);
    println!("{report}");
    assert!(report.failed.is_empty(), "{report}");
}

#[test]
fn the_same_seed_lives_the_same_life() {
    let (a, b) = (sim::run_one(7), sim::run_one(7));
    assert_eq!((a.revisions, a.story), (b.revisions, b.story));
}
