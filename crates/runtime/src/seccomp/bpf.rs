//! A filter as rules, and as the program that the kernel runs for every system call.
//!
//! Numbers are decided by a binary tree, so an allowed call costs about nine comparisons; the few rules that look at
//! arguments hang on their leaves. Source: `Documentation/userspace-api/seccomp_filter.rst`, `linux/filter.h`.

use std::collections::BTreeMap;

/// What the kernel does with a call: a `SECCOMP_RET_*` value with its data.
pub(super) type Action = u32;

pub(super) const ALLOW: Action = 0x7fff_0000;
pub(super) const LOG: Action = 0x7ffc_0000;
pub(super) const TRACE: Action = 0x7ff0_0000;
pub(super) const ERRNO: Action = 0x0005_0000;
pub(super) const TRAP: Action = 0x0003_0000;
pub(super) const KILL_THREAD: Action = 0;
pub(super) const KILL_PROCESS: Action = 0x8000_0000;

/// A comparison of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Argument {
    pub index: u8,
    pub op: Op,
    pub value: u64,
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// The argument with this mask equals the value.
    Masked(u64),
}

/// One system call's rule; all arguments must match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub number: u32,
    pub action: Action,
    pub arguments: Vec<Argument>,
}

/// A whole filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    /// For calls without a matching rule.
    pub default: Action,
    /// For calls above this number, which did not exist when the filter was written.
    pub highest: u32,
    pub rules: Vec<Rule>,
}

const ENOSYS: u32 = libc::ENOSYS as u32;
/// The kernel's `BPF_MAXINSNS`.
const INSTRUCTION_LIMIT: usize = 4096;
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;

/// One instruction: operation, jumps if true and if false, operand.
type Instruction = (u16, u8, u8, u32);

/// What a number leads to.
#[derive(Clone, PartialEq)]
enum Leaf {
    Return(Action),
    /// Rules with arguments, tried in turn.
    Rules(Vec<(Action, Vec<Argument>)>),
}

impl Filter {
    /// The program, one packed `sock_filter` a word.
    pub(super) fn program(&self) -> Result<Vec<u64>, String> {
        let segments = self.segments();
        let mut code = vec![
            (LOAD, 0, 0, ARCHITECTURE_AT),
            (JUMP_EQUAL, 1, 0, ARCHITECTURE),
            // Another architecture's numbers mean other calls.
            (RETURN, 0, 0, ERRNO | libc::EPERM as u32),
            (LOAD, 0, 0, NUMBER_AT),
        ];
        code.extend(self.tree(&segments)?);
        if code.len() > INSTRUCTION_LIMIT {
            return Err(format!(
                "the seccomp profile needs {} instructions, more than the kernel's {INSTRUCTION_LIMIT}",
                code.len()
            ));
        }
        Ok(code.into_iter().map(pack).collect())
    }

    /// Numbers from which on something else holds, with what holds from there.
    fn segments(&self) -> Vec<(u32, Leaf)> {
        let mut leaves: BTreeMap<u32, Leaf> = BTreeMap::new();
        for rule in &self.rules {
            if rule.arguments.is_empty() {
                leaves.insert(rule.number, Leaf::Return(rule.action));
                continue;
            }
            let entry = leaves.entry(rule.number).or_insert_with(|| Leaf::Rules(Vec::new()));
            if let Leaf::Rules(rules) = entry {
                rules.push((rule.action, rule.arguments.clone()));
            }
        }
        let mut segments: Vec<(u32, Leaf)> = vec![(0, Leaf::Return(self.default))];
        let mut push = |from: u32, leaf: Leaf| match segments.last_mut() {
            Some((start, last)) if *start == from => *last = leaf,
            Some((_, last)) if *last == leaf => {}
            _ => segments.push((from, leaf)),
        };
        for (number, leaf) in leaves {
            push(number, leaf);
            push(number + 1, Leaf::Return(self.default));
        }
        // From the first unknown number on; x32's numbers lie there too.
        push(self.highest + 1, Leaf::Return(ERRNO | ENOSYS));
        segments
    }

    fn tree(&self, segments: &[(u32, Leaf)]) -> Result<Vec<Instruction>, String> {
        if let [(_, leaf)] = segments {
            return self.leaf(leaf);
        }
        let (left, right) = segments.split_at(segments.len() / 2);
        let (left, border) = (self.tree(left)?, right[0].0);
        let mut code = vec![(JUMP_GREATER_OR_EQUAL, 0, 1, border), (JUMP, 0, 0, left.len() as u32)];
        code.extend(left);
        code.extend(self.tree(right)?);
        Ok(code)
    }

    fn leaf(&self, leaf: &Leaf) -> Result<Vec<Instruction>, String> {
        let mut code = Vec::new();
        match leaf {
            Leaf::Return(action) => code.push((RETURN, 0, 0, *action)),
            Leaf::Rules(rules) => {
                for (action, arguments) in rules {
                    code.extend(rule(*action, arguments)?);
                }
                code.push((RETURN, 0, 0, self.default));
            }
        }
        Ok(code)
    }
}

/// Compares every argument, falls through to the action, and jumps behind it where one does not match.
fn rule(action: Action, arguments: &[Argument]) -> Result<Vec<Instruction>, String> {
    let checks: Vec<_> = arguments.iter().map(check).collect();
    let mut rest: usize = checks.iter().map(Vec::len).sum();
    let mut code = Vec::new();
    for check in &checks {
        let length = check.len();
        for (at, (operation, yes, no, operand)) in check.iter().enumerate() {
            let target = |to: Target| match to {
                Target::Next => 0,
                Target::Match => length - at - 1,
                // Over the rest of the checks, and the action.
                Target::Fail => rest - at,
            };
            let jump =
                |to| u8::try_from(target(to)).map_err(|_| "a seccomp rule has too many arguments".to_owned());
            code.push((*operation, jump(*yes)?, jump(*no)?, *operand));
        }
        rest -= length;
    }
    code.push((RETURN, 0, 0, action));
    Ok(code)
}

#[derive(Clone, Copy)]
enum Target {
    Next,
    Match,
    Fail,
}

/// The comparison of one 64-bit argument in 32-bit halves, high half first.
fn check(argument: &Argument) -> Vec<(u16, Target, Target, u32)> {
    use Target::{Fail, Match, Next};
    let low_at = ARGUMENTS_AT + u32::from(argument.index) * 8;
    let (high, low) = ((argument.value >> 32) as u32, argument.value as u32);
    let load_high = (LOAD, Next, Next, low_at + 4);
    let load_low = (LOAD, Next, Next, low_at);
    match argument.op {
        Op::Equal => vec![load_high, (JUMP_EQUAL, Next, Fail, high), load_low, (JUMP_EQUAL, Next, Fail, low)],
        Op::NotEqual => {
            vec![load_high, (JUMP_EQUAL, Next, Match, high), load_low, (JUMP_EQUAL, Fail, Next, low)]
        }
        Op::Masked(mask) => vec![
            load_high,
            (AND, Next, Next, (mask >> 32) as u32),
            (JUMP_EQUAL, Next, Fail, high),
            load_low,
            (AND, Next, Next, mask as u32),
            (JUMP_EQUAL, Next, Fail, low),
        ],
        Op::Greater | Op::GreaterOrEqual => {
            let last = if argument.op == Op::Greater { JUMP_GREATER } else { JUMP_GREATER_OR_EQUAL };
            vec![
                load_high,
                (JUMP_GREATER, Match, Next, high),
                (JUMP_EQUAL, Next, Fail, high),
                load_low,
                (last, Next, Fail, low),
            ]
        }
        Op::Less | Op::LessOrEqual => {
            let last = if argument.op == Op::Less { JUMP_GREATER_OR_EQUAL } else { JUMP_GREATER };
            vec![
                load_high,
                (JUMP_GREATER, Fail, Next, high),
                (JUMP_EQUAL, Next, Match, high),
                load_low,
                (last, Fail, Next, low),
            ]
        }
    }
}

fn pack((operation, yes, no, operand): Instruction) -> u64 {
    u64::from(operation) | u64::from(yes) << 16 | u64::from(no) << 24 | u64::from(operand) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would.
    fn run(program: &[u64], number: u32, arguments: [u64; 6]) -> Action {
        let mut data = [number.to_ne_bytes(), ARCHITECTURE.to_ne_bytes(), [0; 4], [0; 4]].concat();
        data.extend(arguments.iter().flat_map(|a| a.to_ne_bytes()));
        let (mut at, mut accumulator) = (0usize, 0u32);
        loop {
            let word = program[at];
            let (operation, yes, no, operand) =
                (word as u16, (word >> 16) as u8, (word >> 24) as u8, (word >> 32) as u32);
            at += 1;
            let mut branch = |taken: bool| at += usize::from(if taken { yes } else { no });
            match operation {
                LOAD => {
                    let from = operand as usize;
                    accumulator = u32::from_ne_bytes(data[from..from + 4].try_into().expect("a word"));
                }
                AND => accumulator &= operand,
                JUMP => at += operand as usize,
                JUMP_EQUAL => branch(accumulator == operand),
                JUMP_GREATER => branch(accumulator > operand),
                JUMP_GREATER_OR_EQUAL => branch(accumulator >= operand),
                _ => return operand,
            }
        }
    }

    const DENY: Action = ERRNO | 1;

    fn filter(rules: Vec<Rule>) -> Vec<u64> {
        Filter { default: DENY, highest: 400, rules }.program().expect("a program")
    }

    #[test]
    fn numbers_are_found_in_the_tree() {
        let allowed = [0, 1, 2, 7, 100, 255, 256, 400];
        let program =
            filter(allowed.iter().map(|n| Rule { number: *n, action: ALLOW, arguments: vec![] }).collect());
        for number in 0..=400 {
            let expected = if allowed.contains(&number) { ALLOW } else { DENY };
            assert_eq!(run(&program, number, [0; 6]), expected, "{number}");
        }
        assert_eq!(run(&program, 401, [0; 6]), ERRNO | ENOSYS);
        assert_eq!(run(&program, 0x4000_0001, [0; 6]), ERRNO | ENOSYS);
    }

    #[test]
    fn arguments_are_compared_in_64_bits() {
        let big = 0x1_0000_0005u64;
        let cases: [(Op, [bool; 4]); 7] = [
            (Op::Equal, [false, true, false, false]),
            (Op::NotEqual, [true, false, true, true]),
            (Op::Less, [true, false, false, true]),
            (Op::LessOrEqual, [true, true, false, true]),
            (Op::Greater, [false, false, true, false]),
            (Op::GreaterOrEqual, [false, true, true, false]),
            (Op::Masked(u64::MAX), [false, true, false, false]),
        ];
        for (op, expected) in cases {
            let arguments = vec![Argument { index: 2, op, value: big }];
            let program = filter(vec![Rule { number: 5, action: ALLOW, arguments }]);
            let got =
                [big - 1, big, big + 1, 5].map(|value| run(&program, 5, [0, 0, value, 0, 0, 0]) == ALLOW);
            assert_eq!(got, expected, "{op:?}");
        }
    }

    #[test]
    fn any_rule_of_a_call_may_match_and_all_its_arguments_must() {
        let equal = |index, value| Argument { index, op: Op::Equal, value };
        let rule = |arguments| Rule { number: 9, action: ALLOW, arguments };
        let program = filter(vec![rule(vec![equal(0, 1), equal(1, 2)]), rule(vec![equal(0, 7)])]);
        let check = |a, b| run(&program, 9, [a, b, 0, 0, 0, 0]) == ALLOW;
        assert_eq!([check(1, 2), check(1, 3), check(7, 0), check(0, 2)], [true, false, true, false]);
    }
}
