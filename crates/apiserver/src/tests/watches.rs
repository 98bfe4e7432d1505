//! Watches: from where, what is selected, bookmarks.

use super::World;
use expect_test::{Expect, expect};
use serde_json::Value;

const CM: &str = "/api/v1/namespaces/default/configmaps";

fn events(w: &World, body: &mut crate::ReplyBody) -> String {
    let text = w.read(body);
    let line = |l: &str| {
        let v: Value = serde_json::from_str(l).unwrap();
        let m = &v["object"]["metadata"];
        let name = m["name"].as_str().unwrap_or("-");
        let note =
            m["annotations"]["k8s.io/initial-events-end"].as_str().map_or("", |_| " initial-events-end");
        let message = v["object"]["message"].as_str().unwrap_or_default();
        format!("{} {name}{note}{message}\n", v["type"].as_str().unwrap())
    };
    text.lines().map(line).collect()
}

fn check(w: &World, body: &mut crate::ReplyBody, expect: Expect) {
    expect.assert_eq(&events(w, body));
}

#[test]
fn watches_show_what_comes_changes_and_goes() {
    let w = World::new();
    let put = |name: &str, label: &str| {
        w.ok(&format!(
            "PUT {CM}/{name}\n\n{{\"metadata\":{{\"name\":\"{name}\",\"labels\":{{\"l\":\"{label}\"}}}}}}"
        ))
    };
    w.ok(&format!("POST {CM}\n\n{{\"metadata\":{{\"name\":\"a\",\"labels\":{{\"l\":\"1\"}}}}}}"));
    let revision = w.server.store.revision();
    let mut all = w.send(&format!("GET {CM}?watch=1")).into_body();
    let mut ones = w.send(&format!("GET {CM}?watch=1&labelSelector=l%3D1")).into_body();
    let mut later = w.send(&format!("GET {CM}?watch=1&resourceVersion={revision}")).into_body();
    let mut one = w.send(&format!("GET {CM}?watch=1&fieldSelector=metadata.name%3Db")).into_body();
    put("a", "2");
    w.ok(&format!("POST {CM}\n\n{{\"metadata\":{{\"name\":\"b\",\"labels\":{{\"l\":\"1\"}}}}}}"));
    put("a", "1");
    w.ok(&format!("DELETE {CM}/b"));
    check(
        &w,
        &mut all,
        expect![[r#"
        ADDED a
        MODIFIED a
        ADDED b
        MODIFIED a
        DELETED b
    "#]],
    );
    check(
        &w,
        &mut ones,
        expect![[r#"
        ADDED a
        DELETED a
        ADDED b
        ADDED a
        DELETED b
    "#]],
    );
    check(
        &w,
        &mut later,
        expect![[r#"
        MODIFIED a
        ADDED b
        MODIFIED a
        DELETED b
    "#]],
    );
    check(
        &w,
        &mut one,
        expect![[r#"
        ADDED b
        DELETED b
    "#]],
    );
}

#[test]
fn a_watch_list_says_where_the_initial_events_end() {
    let w = World::new();
    w.ok(&format!("POST {CM}\n\n{{\"metadata\":{{\"name\":\"a\"}}}}"));
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut body = w.send(&format!("GET {CM}?{query}")).into_body();
    check(
        &w,
        &mut body,
        expect![[r#"
        ADDED a
        BOOKMARK - initial-events-end
    "#]],
    );
    w.ok(&format!("POST {CM}\n\n{{\"metadata\":{{\"name\":\"b\"}}}}"));
    check(
        &w,
        &mut body,
        expect![[r#"
        ADDED b
    "#]],
    );
    w.fails(&format!("GET {CM}?watch=1&sendInitialEvents=true"), expect![[r#"422 Invalid: ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"#]]);
}

#[test]
fn a_watch_from_a_forgotten_revision_is_gone() {
    let w = World::new();
    for name in ["a", "b", "c"] {
        w.ok(&format!("POST {CM}\n\n{{\"metadata\":{{\"name\":\"{name}\"}}}}"));
    }
    w.server.store.compact(w.server.store.revision());
    let mut body = w.send(&format!("GET {CM}?watch=1&resourceVersion=1")).into_body();
    let text = events(&w, &mut body);
    assert!(text.starts_with("ERROR -too old resource version: 1 ("), "{text}");
}

#[test]
fn tables_are_watched() {
    let w = World::new();
    w.ok(&format!("POST {CM}\n\n{{\"metadata\":{{\"name\":\"a\"}}}}"));
    let mut body = w
        .send(&format!(
            "GET {CM}?watch=1&includeObject=None\nAccept: application/json;as=Table;v=v1;g=meta.k8s.io"
        ))
        .into_body();
    w.ok(&format!("POST {CM}\n\n{{\"metadata\":{{\"name\":\"b\"}}}}"));
    expect![[r#"
        {"object":{"apiVersion":"meta.k8s.io/v1","columnDefinitions":[{"description":"","format":"name","name":"Name","priority":0,"type":"string"},{"description":"","format":"","name":"Data","priority":0,"type":"string"},{"description":"","format":"","name":"Age","priority":0,"type":"string"}],"kind":"Table","metadata":{"resourceVersion":"+1"},"rows":[{"cells":["a",0,"0s"]}]},"type":"ADDED"}
        {"object":{"apiVersion":"meta.k8s.io/v1","columnDefinitions":[],"kind":"Table","metadata":{"resourceVersion":"+2"},"rows":[{"cells":["b",0,"0s"]}]},"type":"ADDED"}
    "#]].assert_eq(&w.read(&mut body).lines().map(|l| w.shown(l) + "\n").collect::<String>());
}
