//! CEL's words, for those who name things in it without evaluating any.

/// Words of the language, which can't be names in it (`apiserver/pkg/cel/identifiers.go`).
pub const CEL_RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];
