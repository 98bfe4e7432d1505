//! Indented JSON out of compact JSON, chunk by chunk, so that a list needn't be held in memory to be shown to people.

/// The state between two chunks.
#[derive(Debug, Default)]
pub(crate) struct Pretty {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// An opening bracket was written and nothing since.
    opened: bool,
}

impl Pretty {
    /// Appends `chunk`, indented by two blanks a level, to `out`.
    pub(crate) fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        for &b in chunk {
            if self.in_string {
                self.string_byte(b);
                out.push(b);
                continue;
            }
            match b {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if !std::mem::take(&mut self.opened) {
                        self.line(out);
                    }
                    out.push(b);
                }
                _ => self.token(b, out),
            }
        }
    }

    fn string_byte(&mut self, b: u8) {
        match (self.escaped, b) {
            (true, _) => self.escaped = false,
            (false, b'\\') => self.escaped = true,
            (false, b'"') => self.in_string = false,
            _ => {}
        }
    }

    fn token(&mut self, b: u8, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.opened) {
            self.line(out);
        }
        out.push(b);
        match b {
            b'"' => self.in_string = true,
            b'{' | b'[' => {
                self.depth += 1;
                self.opened = true;
            }
            b',' => self.line(out),
            b':' => out.push(b' '),
            _ => {}
        }
    }

    fn line(&self, out: &mut Vec<u8>) {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', self.depth * 2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_serde_json_whatever_the_chunks() {
        let v = serde_json::json!({"a": [], "b": {}, "c": [1, {"d": "x\\\"{,:"}], "e": null, "f": "ü"});
        let compact = v.to_string();
        for size in 1..7 {
            let (mut p, mut out) = (Pretty::default(), Vec::new());
            compact.as_bytes().chunks(size).for_each(|c| p.push(c, &mut out));
            assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string_pretty(&v).unwrap());
        }
    }
}
