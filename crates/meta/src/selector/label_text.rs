//! The text form of label selectors: a lexer and a recursive-descent parser with upstream's error texts.

use super::{Operator, Requirement, SelectorError, key_error};
use crate::field::FieldPath;
use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Bad,
    End,
    Close,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    Greater,
    Identifier,
    In,
    Less,
    NotEquals,
    NotIn,
    Open,
}

/// The operators, in the order in which upstream lists them.
const BINARY: &str = "in, notin, =, ==, !=, gt, lt";

fn literal(text: &str) -> Option<Token> {
    Some(match text {
        ")" => Token::Close,
        "," => Token::Comma,
        "!" => Token::Not,
        "==" => Token::DoubleEquals,
        "=" => Token::Equals,
        ">" => Token::Greater,
        "in" => Token::In,
        "<" => Token::Less,
        "!=" => Token::NotEquals,
        "notin" => Token::NotIn,
        "(" => Token::Open,
        _ => return None,
    })
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_symbol(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

/// The first token of `s` (which starts with a symbol) and its length: the longest literal, as upstream's
/// scanner takes it.
fn symbol(s: &str) -> (Token, String, usize) {
    let run = s.find(|c| !is_symbol(c)).unwrap_or(s.len());
    let mut found = None;
    for end in 1..=run {
        match literal(&s[..end]) {
            Some(token) => found = Some((token, s[..end].to_owned(), end)),
            None if found.is_some() => break,
            None => {}
        }
    }
    let bad = || (Token::Bad, format!("error expected: keyword found '{}'", &s[..run]), run);
    found.unwrap_or_else(bad)
}

fn scan(text: &str) -> Vec<(Token, String)> {
    let mut rest = text;
    let mut out = Vec::new();
    loop {
        rest = rest.trim_start_matches(is_space);
        let Some(first) = rest.chars().next() else { break };
        if is_symbol(first) {
            let (token, lit, len) = symbol(rest);
            out.push((token, lit));
            rest = &rest[len..];
        } else {
            let end = rest.find(|c| is_symbol(c) || is_space(c)).unwrap_or(rest.len());
            let word = &rest[..end];
            out.push((literal(word).unwrap_or(Token::Identifier), word.to_owned()));
            rest = &rest[end..];
        }
    }
    out.push((Token::End, String::new()));
    out
}

struct Parser {
    tokens: Vec<(Token, String)>,
    at: usize,
}

type Outcome<T> = Result<T, SelectorError>;

fn fail<T>(text: String) -> Outcome<T> {
    Err(SelectorError(text))
}

impl Parser {
    /// The current token where a value may stand: the words `in` and `notin` are values there.
    fn peek(&self) -> (Token, &str) {
        match self.tokens.get(self.at) {
            Some((Token::In | Token::NotIn, lit)) => (Token::Identifier, lit),
            Some((token, lit)) => (*token, lit),
            None => (Token::End, ""),
        }
    }

    fn next(&mut self) -> (Token, String) {
        let (token, lit) = self.peek();
        let item = (token, lit.to_owned());
        self.at += 1;
        item
    }

    fn next_operator(&mut self) -> (Token, String) {
        let item = self.tokens.get(self.at).cloned().unwrap_or((Token::End, String::new()));
        self.at += 1;
        item
    }

    fn all(&mut self) -> Outcome<Vec<Requirement>> {
        let mut out = Vec::new();
        loop {
            match self.peek() {
                (Token::Identifier | Token::Not, _) => {}
                (Token::End, _) => return Ok(out),
                (_, lit) => {
                    return fail(format!("found '{lit}', expected: !, identifier, or 'end of string'"));
                }
            }
            let one = self.requirement();
            out.push(one.map_err(|e| SelectorError(format!("unable to parse requirement: {e}")))?);
            match self.next() {
                (Token::End, _) => return Ok(out),
                (Token::Comma, _) => match self.peek() {
                    (Token::Identifier | Token::Not, _) => {}
                    (_, lit) => return fail(format!("found '{lit}', expected: identifier after ','")),
                },
                (_, lit) => return fail(format!("found '{lit}', expected: ',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Outcome<Requirement> {
        let (mut token, mut key) = self.next();
        let negated = token == Token::Not;
        if negated {
            (token, key) = self.next();
        }
        if token != Token::Identifier {
            return fail(format!("found '{key}', expected: identifier"));
        }
        if let Some(e) = key_error(&key, &FieldPath::default()) {
            return fail(e.to_string());
        }
        if negated {
            return Requirement::new(&key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return Requirement::new(&key, Operator::Exists, Vec::new());
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => self.exact_value()?,
        };
        Requirement::new(&key, operator, values.into_iter().collect())
    }

    fn operator(&mut self) -> Outcome<Operator> {
        Ok(match self.next_operator() {
            (Token::In, _) => Operator::In,
            (Token::NotIn, _) => Operator::NotIn,
            (Token::Equals, _) => Operator::Equals,
            (Token::DoubleEquals, _) => Operator::DoubleEquals,
            (Token::NotEquals, _) => Operator::NotEquals,
            (Token::Greater, _) => Operator::GreaterThan,
            (Token::Less, _) => Operator::LessThan,
            (_, lit) => return fail(format!("found '{lit}', expected: {BINARY}")),
        })
    }

    fn values(&mut self) -> Outcome<BTreeSet<String>> {
        match self.next() {
            (Token::Open, _) => {}
            (_, lit) => return fail(format!("found '{lit}' expected: '('")),
        }
        match self.peek() {
            (Token::Identifier | Token::Comma, _) => self.identifiers(),
            (Token::Close, _) => {
                self.at += 1;
                Ok(BTreeSet::from([String::new()]))
            }
            (_, lit) => fail(format!("found '{lit}', expected: ',', ')' or identifier")),
        }
    }

    /// Comma-separated values up to and with the closing parenthesis; a missing value is the empty string.
    fn identifiers(&mut self) -> Outcome<BTreeSet<String>> {
        let mut set = BTreeSet::new();
        loop {
            match self.next() {
                (Token::Identifier, lit) => {
                    set.insert(lit);
                    match self.peek() {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => break,
                        (_, lit) => return fail(format!("found '{lit}', expected: ',' or ')'")),
                    }
                }
                (Token::Comma, _) => {
                    if set.is_empty() {
                        set.insert(String::new());
                    }
                    match self.peek().0 {
                        Token::Close => {
                            set.insert(String::new());
                            break;
                        }
                        Token::Comma => {
                            set.insert(String::new());
                        }
                        _ => {}
                    }
                }
                (_, lit) => return fail(format!("found '{lit}', expected: ',', or identifier")),
            }
        }
        self.at += 1;
        Ok(set)
    }

    fn exact_value(&mut self) -> Outcome<BTreeSet<String>> {
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return Ok(BTreeSet::from([String::new()]));
        }
        match self.next() {
            (Token::Identifier, lit) => Ok(BTreeSet::from([lit])),
            (_, lit) => fail(format!("found '{lit}', expected: identifier")),
        }
    }
}

pub(super) fn parse(text: &str) -> Outcome<Vec<Requirement>> {
    Parser { tokens: scan(text), at: 0 }.all()
}
