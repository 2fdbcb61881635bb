"""What a statement does and to which relations, read from the tree that PostgreSQL's own grammar makes of it.

Limitations: a view is not resolved to its tables, the body of a function is not looked into, and names are not
looked up in a search_path: a relation is called what the SQL calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import postgast
from google.protobuf.message import DecodeError, Message
from postgast import pg_query_pb2 as pb
from postgast.walk import unwrap_node

#: statements that only frame the one that does the work
_FRAME = frozenset({"BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET", "RESET"})
_TRANSACTION = {
    pb.TRANS_STMT_BEGIN: "BEGIN",
    pb.TRANS_STMT_START: "START TRANSACTION",
    pb.TRANS_STMT_COMMIT: "COMMIT",
    pb.TRANS_STMT_ROLLBACK: "ROLLBACK",
    pb.TRANS_STMT_SAVEPOINT: "SAVEPOINT",
    pb.TRANS_STMT_RELEASE: "RELEASE",
    pb.TRANS_STMT_ROLLBACK_TO: "ROLLBACK",
    pb.TRANS_STMT_PREPARE: "PREPARE TRANSACTION",
    pb.TRANS_STMT_COMMIT_PREPARED: "COMMIT PREPARED",
    pb.TRANS_STMT_ROLLBACK_PREPARED: "ROLLBACK PREPARED",
}
#: what postgast.classify_statement does not tell apart
_REFINED: dict[str, Callable[[Any], str | None]] = {
    "TransactionStmt": lambda node: _TRANSACTION.get(node.kind),
    "VariableSetStmt": lambda node: "RESET" if node.kind in (pb.VAR_RESET, pb.VAR_RESET_ALL) else "SET",
    "FetchStmt": lambda node: "MOVE" if node.ismove else "FETCH",
    "VacuumStmt": lambda node: "VACUUM" if node.is_vacuumcmd else "ANALYZE",
    "LockStmt": lambda node: "LOCK TABLE",
    "GrantRoleStmt": lambda node: "GRANT ROLE" if node.is_grant else "REVOKE ROLE",
    "SelectStmt": lambda node: "SELECT INTO" if node.HasField("into_clause") else "SELECT",
    "CreateTableAsStmt": lambda node: "CREATE TABLE AS" if node.objtype == pb.OBJECT_TABLE else None,
}
#: the field that names the kind of object where the statement's own name does not
_OBJECT_FIELD = {
    "AlterTableStmt": "objtype",
    "RenameStmt": "rename_type",
    "AlterOwnerStmt": "object_type",
    "AlterObjectSchemaStmt": "object_type",
    "AlterObjectDependsStmt": "object_type",
    "DefineStmt": "kind",
    "DropStmt": "remove_type",
}
_OBJECT_NAMES = {
    "MATVIEW": "MATERIALIZED VIEW",
    "COLUMN": "TABLE",
    "ATTRIBUTE": "TYPE",
    "TABCONSTRAINT": "TABLE",
    "DOMCONSTRAINT": "DOMAIN",
    "OPCLASS": "OPERATOR CLASS",
    "OPFAMILY": "OPERATOR FAMILY",
    "FDW": "FOREIGN DATA WRAPPER",
    "FOREIGN_SERVER": "SERVER",
    "TSCONFIGURATION": "TEXT SEARCH CONFIGURATION",
    "TSDICTIONARY": "TEXT SEARCH DICTIONARY",
    "TSPARSER": "TEXT SEARCH PARSER",
    "TSTEMPLATE": "TEXT SEARCH TEMPLATE",
}
#: kinds of object that are relations, where a statement names them by a list of strings
_RELATION_TYPES = frozenset(
    {pb.OBJECT_TABLE, pb.OBJECT_VIEW, pb.OBJECT_MATVIEW, pb.OBJECT_FOREIGN_TABLE, pb.OBJECT_INDEX, pb.OBJECT_SEQUENCE}
)
#: what is not looked into: SQL that is run when the function is; the name of a type
_SKIPPED = frozenset({("CreateFunctionStmt", "sql_body"), ("CompositeTypeStmt", "typevar")})
#: fields of utility statements that only look at the relation they name: LIKE, REFERENCES, INHERITS, PARTITION OF
_LOOKED_AT = frozenset({("TableLikeClause", "relation"), ("Constraint", "pktable"), ("CreateStmt", "inh_relations")})
_QUERIES = frozenset({"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"})


@dataclass(frozen=True, slots=True)
class Shape:
    """What a text does. ``verb`` is PostgreSQL's command tag; null, like the lists, where the tree cannot be had."""

    verb: str | None
    relations_read: list[str] | None
    relations_written: list[str] | None


def read_tree(text: str) -> Shape:
    """The verb of ``text`` and the relations it reads and writes, each distinct and sorted.

    The target of INSERT, UPDATE, DELETE, MERGE, COPY FROM and of DDL is written; so is that of TRUNCATE, VACUUM and
    LOCK TABLE, which keep others away from it. COPY TO and ANALYZE read. The verb of several statements is the first
    that does more than frame a transaction or set a parameter.

    Raises postgast.PgQueryError where PostgreSQL's grammar does not accept the text.
    """
    try:
        tree = postgast.parse(text)
    except DecodeError:  # nested too deep for protobuf (some 50 levels): accepted by the grammar, not to be looked at
        return Shape(None, None, None)
    statements = [statement.stmt for statement in tree.stmts]
    verbs = [_verb(statement) for statement in statements]
    walk = _Walk()
    for statement in statements:
        walk.visit(unwrap_node(statement), frozenset(), writes=False)
    return Shape(
        next((verb for verb in verbs if verb not in _FRAME), verbs[0] if verbs else None),
        sorted(walk.read),
        sorted(walk.written),
    )


def _verb(statement: pb.Node) -> str:
    """The command tag of one statement (CreateCommandTag in src/backend/tcop/utility.c)."""
    node: Any = unwrap_node(statement)
    kind = type(node).__name__
    if kind in _REFINED and (verb := _REFINED[kind](node)) is not None:
        return verb
    info = postgast.classify_statement(statement)
    action = info.action if info is not None else kind
    if kind in _OBJECT_FIELD:
        name = pb.ObjectType.Name(getattr(node, _OBJECT_FIELD[kind])).removeprefix("OBJECT_")
        return f"{action} {_OBJECT_NAMES.get(name, name.replace('_', ' '))}"
    return f"{action} {info.object_type}" if info is not None and info.object_type else action


@dataclass(slots=True)
class _Walk:
    """Collects relations; ``ctes`` are the names that a WITH clause hides where a node stands."""

    read: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)

    def visit(self, node: Message, ctes: frozenset[str], *, writes: bool) -> None:
        """Look at ``node`` and below; ``writes`` says what naming a relation means there."""
        kind = type(node).__name__
        if isinstance(node, pb.RangeVar):
            self._name(node, ctes, writes)
            return
        if kind in _QUERIES:
            self._query(node, ctes)
            return
        if isinstance(node, pb.LockingClause):  # FOR UPDATE OF: aliases, not relations
            return
        if isinstance(node, pb.IntoClause):
            writes = True
        elif kind.endswith("Stmt"):
            writes = not (
                (isinstance(node, pb.CopyStmt) and not node.is_from)
                or (isinstance(node, pb.VacuumStmt) and not node.is_vacuumcmd)
            )
            self._named_by_strings(node)
        for name, child in _children(node):
            if (kind, name) not in _SKIPPED:
                self.visit(child, ctes, writes=writes and (kind, name) not in _LOOKED_AT)

    def _query(self, node: Any, ctes: frozenset[str]) -> None:
        """A statement that may have WITH and a target; all else that it names is read."""
        if node.HasField("with_clause"):
            ctes = self._with(node.with_clause, ctes)
        is_select = isinstance(node, pb.SelectStmt)
        for name, child in _children(node):
            if name == "with_clause":
                continue
            if name == "relation" and not is_select:
                self._name(child, frozenset(), writes=True)
            else:
                self.visit(child, ctes, writes=False)

    def _with(self, clause: pb.WithClause, ctes: frozenset[str]) -> frozenset[str]:
        """Visits the CTEs, each of which sees those before it (WITH RECURSIVE: all); returns the names in force."""
        queries = [node.common_table_expr for node in clause.ctes]
        if clause.recursive:
            ctes |= {query.ctename for query in queries}
        for query in queries:
            self.visit(unwrap_node(query.ctequery), ctes, writes=False)
            ctes |= {query.ctename}
        return ctes

    def _name(self, node: Any, ctes: frozenset[str], writes: bool) -> None:
        parts = [node.catalogname, node.schemaname, node.relname]
        if not node.schemaname and node.relname in ctes:
            return
        (self.written if writes else self.read).add(".".join(part for part in parts if part))

    def _named_by_strings(self, node: Message) -> None:
        """DROP and COMMENT name their relation by a list of strings."""
        lists: list[Any] = []
        if isinstance(node, pb.DropStmt) and node.remove_type in _RELATION_TYPES:
            lists = list(node.objects)
        elif isinstance(node, pb.CommentStmt) and node.objtype in _RELATION_TYPES:
            lists = [node.object]
        for item in lists:
            self.written.add(".".join(part.string.sval for part in item.list.items))


def _children(node: Message) -> Iterable[tuple[str, Message]]:
    """The messages below ``node`` with the field that holds them."""
    for descriptor, value in node.ListFields():
        if descriptor.message_type is None:
            continue
        for item in [value] if isinstance(value, Message) else value:
            yield descriptor.name, unwrap_node(item)
