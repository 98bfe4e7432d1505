//! What is wrong with a text that is no JSON, in the words of Go's `encoding/json` scanner: clients of upstream's API see
//! these in its 400s.

/// Nesting behind which the search ends.
const MAX_NESTING: usize = 10_000;

/// The first fault; none where the text is JSON.
pub fn find(text: &[u8]) -> Option<String> {
    let mut scan = Scan { text, at: 0 };
    scan.document().err()
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

type Step = Result<(), String>;

/// A byte as Go quotes it.
fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => "'\\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\n' => "'\\n'".to_owned(),
        b'\t' => "'\\t'".to_owned(),
        b'\r' => "'\\r'".to_owned(),
        b'\\' => "'\\\\'".to_owned(),
        0x20..=0x7e => format!("'{}'", char::from(byte)),
        // Go takes the byte for a rune.
        0xa1..=0xff => format!("'{}'", char::from(byte)),
        _ => format!("'\\x{byte:02x}'"),
    }
}

impl Scan<'_> {
    fn blank(&mut self) {
        while self.text.get(self.at).is_some_and(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Result<u8, String> {
        self.text.get(self.at).copied().ok_or_else(|| "unexpected end of JSON input".to_owned())
    }

    fn wrong<T>(&self, context: &str) -> Result<T, String> {
        Err(format!("invalid character {} {context}", quoted(self.peek()?)))
    }

    /// One value and nothing behind it. Open lists and objects are a list here, so that depth costs no stack.
    fn document(&mut self) -> Step {
        let mut open: Vec<u8> = Vec::new();
        loop {
            self.blank();
            // A value begins.
            match self.peek()? {
                b'{' => {
                    self.at += 1;
                    self.blank();
                    if self.peek()? != b'}' {
                        open.push(b'}');
                        self.key("looking for beginning of object key string")?;
                        if open.len() > MAX_NESTING {
                            return Err("exceeded max depth".to_owned());
                        }
                        continue;
                    }
                    self.at += 1;
                }
                b'[' => {
                    self.at += 1;
                    self.blank();
                    if self.peek()? != b']' {
                        open.push(b']');
                        if open.len() > MAX_NESTING {
                            return Err("exceeded max depth".to_owned());
                        }
                        continue;
                    }
                    self.at += 1;
                }
                _ => self.scalar()?,
            }
            if self.close(&mut open)? {
                return Ok(());
            }
        }
    }

    /// Behind a value: ends what ends here, and stops where the next value begins. True at the end of all.
    fn close(&mut self, open: &mut Vec<u8>) -> Result<bool, String> {
        loop {
            self.blank();
            let Some(end) = open.last().copied() else {
                return if self.at < self.text.len() {
                    self.wrong("after top-level value")
                } else {
                    Ok(true)
                };
            };
            match self.peek()? {
                b',' => {
                    self.at += 1;
                    if end == b'}' {
                        self.blank();
                        self.key("looking for beginning of object key string")?;
                    }
                    return Ok(false);
                }
                byte if byte == end => {
                    self.at += 1;
                    open.pop();
                }
                _ if end == b'}' => return self.wrong("after object key:value pair"),
                _ => return self.wrong("after array element"),
            }
        }
    }

    fn key(&mut self, context: &str) -> Step {
        if self.peek()? != b'"' {
            return self.wrong(context);
        }
        self.string()?;
        self.blank();
        if self.peek()? != b':' {
            return self.wrong("after object key");
        }
        self.at += 1;
        Ok(())
    }

    fn scalar(&mut self) -> Step {
        match self.peek()? {
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.wrong("looking for beginning of value"),
        }
    }

    fn literal(&mut self, word: &str) -> Step {
        for wanted in word.bytes() {
            if self.peek()? != wanted {
                return self.wrong(&format!("in literal {word} (expecting {})", quoted(wanted)));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn string(&mut self) -> Step {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => {
                    self.at += 1;
                    match self.peek()? {
                        b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => self.at += 1,
                        b'u' => {
                            self.at += 1;
                            for _ in 0..4 {
                                if !self.peek()?.is_ascii_hexdigit() {
                                    return self.wrong("in \\u hexadecimal character escape");
                                }
                                self.at += 1;
                            }
                        }
                        _ => return self.wrong("in string escape code"),
                    }
                }
                0..0x20 => return self.wrong("in string literal"),
                _ => self.at += 1,
            }
        }
    }

    fn number(&mut self) -> Step {
        if self.peek()? == b'-' {
            self.at += 1;
            if !self.peek()?.is_ascii_digit() {
                return self.wrong("in numeric literal");
            }
        }
        if self.peek()? == b'0' {
            self.at += 1;
        } else {
            self.digits();
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            if !self.peek()?.is_ascii_digit() {
                return self.wrong("after decimal point in numeric literal");
            }
            self.digits();
        }
        if self.text.get(self.at).is_some_and(|b| matches!(b, b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek()?, b'+' | b'-') {
                self.at += 1;
            }
            if !self.peek()?.is_ascii_digit() {
                return self.wrong("in exponent of numeric literal");
            }
            self.digits();
        }
        Ok(())
    }

    fn digits(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn faults_are_gos() {
        for (text, want) in [
            ("{", "unexpected end of JSON input"),
            ("", "unexpected end of JSON input"),
            ("x", "invalid character 'x' looking for beginning of value"),
            ("{a}", "invalid character 'a' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair"),
            ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("[tru]", "invalid character ']' in literal true (expecting 'e')"),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            ("\"\\x\"", "invalid character 'x' in string escape code"),
            ("[-]", "invalid character ']' in numeric literal"),
            ("[1.]", "invalid character ']' after decimal point in numeric literal"),
            ("[01]", "invalid character '1' after array element"),
        ] {
            assert_eq!(find(text.as_bytes()).as_deref(), Some(want), "{text}");
        }
        for text in ["{}", " [1, -0.5e+3, {\"a\": [], \"b\": {}}, null, true, \"\\u00e9\"] ", "0", "\"\""] {
            assert_eq!(find(text.as_bytes()), None, "{text}");
        }
        assert_eq!(find("[".repeat(20_000).as_bytes()).as_deref(), Some("exceeded max depth"));
    }
}
