"""The rules by which secrets are found in texts (see secrets): what stands beside a secret, and the forms of literals.

The engine knows no look-around: what must not be taken for something else is matched first and put back, or hidden from
a pattern by a mark inside it. Blanks and letters are those of ASCII, as in PostgreSQL's scanner.
"""

from __future__ import annotations

from dataclasses import dataclass

#: stands where a secret was
HIDDEN = "*****"

_S = r"[ \t\n\r\f\v]"
_WORD = r"(?i-u:passw(?:or)?d|passphrase|pwd|secret|token|credential|api[-_]?key|private_key)"
#: the rest of a name that holds such a word; its beginning does not matter
_NAME = rf"{_WORD}[A-Za-z0-9_-]*"
#: names that hold such a word and no secret; a mark inside them hides them from the rules
_HARMLESS = r"(?i)(passw)(ord_(?:encryption|required)\b|ordcheck\b)"
_BREAK = "\x1b"
#: stands around what was matched, until that is sorted out
_MARK = "\x1a"
MARKS = (_BREAK, _MARK)

#: blanks and comments; line ends as JSON writes them (auto_explain)
_GAP = rf"(?:{_S}|\\[nrt]|/\*[^*]*\*+(?:[^/*][^*]*\*+)*/|--[^\n\\]*(?:\n|\\n))"
_CAST = r'(?:::[A-Za-z_][\w. "]*?(?:\[\])?)?'
#: between a name and its value: =, :=, =>, TO, (name)::text = ANY ( …, or nothing but a blank (options, PASSWORD)
_OPERATOR = r"(?:[=<>!:~]{1,3}|(?i-u:to|like)(?-u:\b))"
_BETWEEN = rf'["\\)]{{0,3}}{_CAST}(?:{_GAP}*{_OPERATOR}{_GAP}*(?:(?i-u:any){_S}*)?(?:\({_S}*)?|{_GAP}+)'

#: a literal inside another literal: what follows its two quotes cannot follow an empty literal
_INNER = r"('')(?:[^\s',();|:+=<>\]-]|'''')(?:[^']|'''')*(''|\z)"
#: 'a' 'b' on two lines are one literal
_PLAIN = rf"((?:[uU]&)?')(?:[^']|'')*(?:'{_S}*\n{_S}*'(?:[^']|'')*)*('|\z)"
#: several backslashes before a quote: JSON writes one as two, so the quote is taken for an escaped one
_ESCAPED = r"([eE]')(?:[^'\\]|\\+(?:[^\\]|\z)|'')*('|\z)"
#: no backreference: a tag that a literal may end with, where what is behind it does not belong to a word
_DOLLAR = r"(\$\$).*?(\$\$|\z)|(\$[A-Za-z_]\w*\$).*?(\$[A-Za-z_]\w*\$(?:[\s;,):]|\z)|\z)"
_LITERAL = rf"(?:{_INNER}|{_ESCAPED}|{_PLAIN}|{_DOLLAR})"
_LITERAL_GROUPS = 10


def hidden(first: int) -> str:
    """The replacement for a literal whose groups, the quotes, begin with that number."""
    opening = "".join(f"${{{number}}}" for number in range(first, first + _LITERAL_GROUPS, 2))
    closing = "".join(f"${{{number}}}" for number in range(first + 1, first + _LITERAL_GROUPS, 2))
    return f"{opening}{HIDDEN}{closing}"


@dataclass(frozen=True, slots=True)
class Rule:
    """``pattern`` becomes ``replacement`` in the texts that hold ``gate`` (the pattern, where there is none).

    ``needs``: where no text holds one of these, in small letters, the pattern is not even made.
    """

    pattern: str
    replacement: str
    needs: tuple[str, ...] = ()
    gate: str | None = None
    times: int = 1


# --- connection strings ---

#: in a connection string a value ends with a blank; a quote is part of it where more follows
_VALUE = r"""(?:[^\s'"\\]|\\.|''|"[^\s'",;)\]}:\\])+"""
_PAIR = rf"""[A-Za-z_]{_S}*={_S}*(?:'(?:[^'\\]|\\.)*'|''[^']*''|{_VALUE})"""
#: what tells a connection string from SQL: it begins behind a quote, or the pair before has no comma behind it
_DOTTED = "[A-Za-z0-9_.]*"
_CONTEXT = (
    rf"""(?:(?:^|['"]){_S}*(?:-c{_S}*)?{_DOTTED}|{_PAIR}{_S}+{_DOTTED}|-c{_S}*{_DOTTED}"""
    r"""|--[A-Za-z0-9_-]*)"""
)
_CONNECTION_ONLY = r"(?i-u:ldapbindpasswd|radiussecrets|sslpassword|PGPASSWORD|AWS_SECRET_ACCESS_KEY|AWS_SESSION_TOKEN)"
_KEY = rf"(?:{_CONTEXT}{_NAME}|{_CONNECTION_ONLY}){_S}*={_S}*"
_OF_CONNECTION = (
    r"('')(?:[^\s'(),;|:]|\\.)(?:[^'\\]|\\''|\\.|'''')*(''|\z)"
    r"|(')(?:[^\s'(),;|:\\]|\\.)(?:[^'\\]|\\.)*('|\z)"
    r'|("")[^"]+(""|\z)|(\\")[^"\\]+(\\"|\z)|(")[^"]+("|\z)'
)
_CONNECTIONS = (
    # a question's parameter ends with &; in a connection string that is a character like others
    Rule(rf"""([?&;][A-Za-z0-9_-]*{_NAME}=)[^&;\s'"#]+""", f"${{1}}{HIDDEN}", ("?", "&", ";")),
    Rule(
        rf"(?s)({_KEY})(?:{_OF_CONNECTION}|{_VALUE})",
        f"${{1}}${{2}}${{4}}${{6}}${{8}}${{10}}{HIDDEN}${{3}}${{5}}${{7}}${{9}}${{11}}",
        ("=",),
        gate=rf"{_NAME}{_S}*=",
        times=2,  # the second of two neighbours has the first one in its context
    ),
    # as far as the last @ before a slash; the second one is for a slash in the password, but no port and path
    Rule(r"""(://[^\s:/@'"?#]*:)(?:[^\s/'"?#]|'')+@""", f"${{1}}{HIDDEN}@", ("://",)),
    Rule(r"""(://[^\s:/@'"?#]*:)[0-9]*[^0-9/\s'"@?#][^\s'"@]*@""", f"${{1}}{HIDDEN}@", ("://",)),
    Rule(
        r"""((?i-u:postgres(?:ql)?)://[^\s:/@'"?#]*:)[0-9]*[^0-9/\s'"@?#,][^\s'"@/]*\z""",
        f"${{1}}{HIDDEN}",
        ("s://", "l://"),
    ),
)

# --- commands that the server runs ---

_COMMANDS = (
    Rule(
        rf"""((?-u:\b)(?i-u:curl|wget)(?-u:\b)[^\n]*?(?:{_S}-u{_S}*|--(?:proxy-)?user(?:{_S}+|=))(?:\\?"|'{{1,2}})?"""
        rf"""[^\s:'"]*:)(?:[^\s'"\\]|\\[^\s'"])+""",
        f"${{1}}{HIDDEN}",
        ("curl", "wget"),
    ),
    Rule(
        rf"""((?i-u:authorization)["'\\]*{_S}*[:=]{_S}*["'\\]*(?:(?i-u:bearer|basic|token|digest|negotiate){_S}+)?)"""
        r"""[^\s'"\\,]+""",
        f"${{1}}{HIDDEN}",
        ("authorization",),
    ),
    Rule(rf"""((?-u:\b)(?i-u:bearer){_S}+)[A-Za-z0-9._~+/=-]{{8,}}""", f"${{1}}{HIDDEN}", ("bearer",)),
    Rule(rf"""((?i-u:x-[a-z-]*)(?:{_WORD})[a-zA-Z-]*{_S}*:{_S}*)[^\s'"\\]+""", f"${{1}}{HIDDEN}", ("x-",)),
    Rule(rf"""(--[A-Za-z0-9_-]*{_NAME}{_S}+)[^\s'"\\-][^\s'"\\]*""", f"${{1}}{HIDDEN}", ("--",)),
    Rule(r"(?-u:\b)A[KS]IA[0-9A-Z]{16}(?-u:\b)", HIDDEN, ("akia", "asia")),
)

# --- SQL ---

_SQL_STRING = r"'(?:[^']|'')*'"
_NESTED = r"\([^()]*\)"
for _ in range(2):
    _NESTED = rf"\((?:[^()']|{_SQL_STRING}|{_NESTED})*\)"
_ARGUMENT = rf"(?:[^,()';]|{_SQL_STRING}|{_NESTED})*"
_WRAPPED = rf"{_GAP}*(?:[A-Za-z0-9_.]+{_S}*\({_S}*)?"
_TWO_ARGUMENTS = r"(?:hmac|encrypt|decrypt|encrypt_iv|decrypt_iv|pgp_sym_(?:en|de)crypt(?:_bytea)?)"
_CONFIG = rf"(?i-u:set_config){_S}*\({_S}*(?:\w+{_S}*(?:=>|:=){_S}*)?"

_SQL_FUNCTIONS = (
    Rule(rf"(?s)((?-u:\b)(?i-u:crypt){_S}*\({_WRAPPED}){_LITERAL}", f"${{1}}{hidden(2)}", ("crypt",)),
    Rule(
        rf"(?s)((?-u:\b)(?i-u:{_TWO_ARGUMENTS}){_S}*\({_ARGUMENT},{_WRAPPED}){_LITERAL}",
        f"${{1}}{hidden(2)}",
        ("crypt", "hmac"),
    ),
    Rule(
        rf"(?s)((?i-u:pgp_pub_decrypt(?:_bytea)?){_S}*\({_ARGUMENT},{_ARGUMENT},{_WRAPPED}){_LITERAL}",
        f"${{1}}{hidden(2)}",
        ("pgp_pub_decrypt",),
    ),
    Rule(
        rf"(?s)({_CONFIG}'{{1,2}}[^',]*{_WORD}[^',]*'{{1,2}}{_CAST}{_S}*,{_WRAPPED}(?:\w+{_S}*(?:=>|:=){_S}*)?)"
        rf"{_LITERAL}",
        f"${{1}}{hidden(2)}",
        ("set_config",),
    ),
    Rule(
        rf"((?i-u:create_aws_credentials){_S}*\({_S}*'[^']*'{_S}*,{_S}*)'[^']*'({_S}*,{_S}*)'[^']*'",
        f"${{1}}'{HIDDEN}'${{2}}'{HIDDEN}'",
        ("create_aws_credentials",),
    ),
)

#: a literal without a secret, so that the word at the end of one is not taken for the name before the next
_OTHER_LITERAL = r"(?-u:\b)[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|--(?:[^\n\\]|\\[^n])*|/\*.*?\*/"
_OF_ROLES = ("role", "user", "group")
_ROLE = rf"(?-u:\b)(?i-u:create|alter){_GAP}+(?i-u:role|user|group)(?-u:\b)[^;']*?(?-u:\b)(?i-u:password){_GAP}+"
_SQL = (
    # a statement inside a literal: EXECUTE 'ALTER ROLE … PASSWORD ''…'''
    Rule(rf"(?s)({_NAME}{_BETWEEN}){_INNER}", f"${{1}}${{2}}{HIDDEN}${{3}}", ("''",)),
    # in a comment
    Rule(
        rf"((?:/\*(?:[^*'\"]|\*+[^/*'\"])*?|--[^\n'\"]*?){_NAME}{_BETWEEN})'[^']*'",
        f"${{1}}'{HIDDEN}'",
        ("/*", "--"),
    ),
    Rule(
        rf"(?s)({_OTHER_LITERAL})|({_NAME}{_BETWEEN}){_LITERAL}",
        f"${{1}}${{2}}{_MARK}{hidden(3)}{_MARK}",
        gate=rf"(?s){_NAME}{_BETWEEN}{_LITERAL}",
    ),
    Rule(rf"{_MARK}\*\*\*\*\*{_MARK}|{_MARK}", "", (_MARK,)),
    # without quotes, or with the wrong ones: the server refuses it and logs it
    Rule(rf"({_ROLE})(?i-u:(null)(?-u:\b))", f"${{1}}{_BREAK}${{2}}", _OF_ROLES),
    Rule(rf"""({_ROLE})(")[^"]*("|\z)""", f"${{1}}${{2}}{HIDDEN}${{3}}", _OF_ROLES),
    Rule(rf"""({_ROLE})[^\s'";$/*{_BREAK}-][^\s'";]*([\s;"]|\z)""", f"${{1}}{HIDDEN}${{2}}", _OF_ROLES),
    # SET of a parameter; in UPDATE it would have no dot
    Rule(
        rf"""((?-u:\b)(?i-u:set){_GAP}+(?:(?i-u:session|local){_GAP}+)?"?\w+"?\.[\w."]*{_NAME}"?{_GAP}*"""
        rf"""(?:=|(?i-u:to)(?-u:\b)){_GAP}*)(?:((?i-u:default))(?-u:\b)|[^\s'";$(),*]+)""",
        f"${{1}}{_MARK}${{2}}",
        ("set",),
    ),
    Rule(rf"{_MARK}((?i-u:default))", "${1}", (_MARK,)),
    Rule(_MARK, f"'{HIDDEN}'", (_MARK,)),
)

# --- what the server says of values ---

_SAID = (
    Rule(
        rf"""(?s)(parameter "{{1,2}}[^"\s]*{_WORD}[^"\s]*"{{1,2}}(?: changed to|:) )("{{1,2}}).*?("{{1,2}}|\z)""",
        f"${{1}}${{2}}{HIDDEN}${{3}}",
        ("parameter",),
    ),
    Rule(
        rf"""(Key \([^)]*{_WORD}[^)]*\)=\()(?s:.*?)(\) (?:already|is not|is still|conflicts)|\z)""",
        f"${{1}}{HIDDEN}${{2}}",
        ("key (",),
    ),
    Rule(rf'(?s)(, column "?[^":]*{_WORD}[^":]*"?: ").*"', f'${{1}}{HIDDEN}"', ("column",)),
    # JSON, also inside a literal, inside JSON, and inside CSV
    Rule(
        rf'(?s)({_NAME}"{_S}*:{_S}*")(?:[^"\\]|\\.)*|({_NAME}\\"{_S}*:{_S}*\\")[^"\\]*|({_NAME}""{_S}*:{_S}*"")[^"]*',
        f"${{1}}${{2}}${{3}}{HIDDEN}",
        ('":', '" :'),
    ),
)

RULES = (
    Rule(_HARMLESS, f"${{1}}{_BREAK}${{2}}", ("password",)),
    *_CONNECTIONS,
    *_COMMANDS,
    *_SQL_FUNCTIONS,
    *_SAID,
    *_SQL,
    Rule(_BREAK, "", (_BREAK,)),
)

#: a name with which a line ends, and what the next one begins with then: the end of its literal, or all of it
ENDS_WITH_NAME = rf"{_NAME}{_BETWEEN}\z|{_NAME}{_S}*\z"
FIRST_LITERAL = rf"(?s)\A({_S}*(?:{_OPERATOR}{_S}*)?){_LITERAL}"
ENDS_OPEN = r"'\*{5}\z"
