//! docs/walks/pod-creation.md says what happens.

#[test]
fn the_walk_is_what_happens() {
    let page = sim::walk();
    assert!(page.contains("successfully rolled out"), "{page}");
    assert!(page.contains("watch event: the same buffer"), "{page}");
    expect_test::expect_file!["../../../docs/walks/pod-creation.md"].assert_eq(&page);
}
