//! The order of a merged list: the patch's order first, else the live list's.

use super::{Object, Outcome, go_text, no_merge_key};
use serde_json::Value;

/// How items of one list are told apart: by `merge_key`, or as they are when it is empty.
pub(super) struct Order<'a> {
    pub(super) merge_key: &'a str,
}

impl Order<'_> {
    fn same(&self, a: &Value, b: &Value) -> bool {
        match self.merge_key {
            "" => a == b,
            key => a.get(key).is_some() && a.get(key) == b.get(key),
        }
    }

    fn position(&self, list: &[Value], item: &Value) -> Option<usize> {
        list.iter().position(|v| self.same(v, item))
    }

    /// The items of a patch must stand in `$setElementOrder`, in the same order.
    pub(super) fn check(&self, patch: &[Value], wanted: &[Value]) -> Outcome<()> {
        if patch.is_empty() || wanted.is_empty() {
            return Ok(());
        }
        let mut at = 0;
        for item in patch.iter().filter(|v| v.get("$patch").is_none()) {
            if let (false, Value::Object(m)) = (self.merge_key.is_empty(), item)
                && !m.contains_key(self.merge_key)
            {
                return Err(no_merge_key(m, self.merge_key));
            }
            let found = wanted[at..].iter().position(|w| self.same(item, w));
            let Some(step) = found else {
                return Err(format!(
                    "The order in patch list:\n[{}]\n doesn't match $setElementOrder list:\n[{}]\n",
                    patch.iter().map(go_text).collect::<Vec<_>>().join(" "),
                    wanted.iter().map(go_text).collect::<Vec<_>>().join(" "),
                ));
            };
            at += step + 1;
        }
        Ok(())
    }

    /// Puts `merged` in order: its items that stand in `wanted` in that order, and among them the others by
    /// their place in the `live` list.
    pub(super) fn arrange(
        &self,
        merged: Vec<Value>,
        wanted: &[Value],
        live: &[Value],
    ) -> Outcome<Vec<Value>> {
        for item in merged.iter().chain(wanted) {
            match item {
                Value::Object(m) => self.require_key(m)?,
                _ if self.merge_key.is_empty() => {}
                _ => return Err("lists of lists are not supported".to_owned()),
            }
        }
        let (mut named, mut others): (Vec<Value>, Vec<Value>) =
            merged.into_iter().partition(|v| self.position(wanted, v).is_some());
        named.sort_by_key(|v| self.position(wanted, v));
        others.sort_by_key(|v| self.position(live, v).unwrap_or(usize::MAX));
        let mut out = Vec::with_capacity(named.len() + others.len());
        let (mut left, mut right) = (others.into_iter().peekable(), named.into_iter().peekable());
        loop {
            let first = match (left.peek(), right.peek()) {
                (None, None) => return Ok(out),
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some(l), Some(r)) => {
                    matches!((self.position(live, l), self.position(live, r)), (Some(a), Some(b)) if a < b)
                }
            };
            out.extend(if first { left.next() } else { right.next() });
        }
    }

    fn require_key(&self, m: &Object) -> Outcome<()> {
        if self.merge_key.is_empty() || m.contains_key(self.merge_key) {
            return Ok(());
        }
        Err(no_merge_key(m, self.merge_key))
    }
}
