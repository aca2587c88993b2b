//! What is known to be wrong with an expression before there is a record: names, functions, types as far as they are known.

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr, SourceInfo, operators};

use super::budget;

/// How keys and values are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The key.
    pub key: Expected,
    /// The value.
    pub value: Expected,
}

/// How bytes are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// JSON.
    Json,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// Text where it is UTF-8, else bytes.
    TextOrBytes,
}

/// What a part of an expression is, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Any,
    Bool,
    Number,
    Text,
    Bytes,
    Null,
    List,
    Map,
    Time,
    Span,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Type::Any => "anything",
            Type::Bool => "true or false",
            Type::Number => "a number",
            Type::Text => "text",
            Type::Bytes => "bytes",
            Type::Null => "null",
            Type::List => "a list",
            Type::Map => "a map",
            Type::Time => "a timestamp",
            Type::Span => "a duration",
        }
    }

    fn may_be(self, other: Type) -> bool {
        self == other || self == Type::Any || other == Type::Any
    }
}

/// Functions and what they come to. A test holds them against the interpreter.
#[rustfmt::skip]
pub(super) const FUNCTIONS: [(&str, &str); 39] = [
    ("size", "number"), ("contains", "bool"), ("startsWith", "bool"), ("endsWith", "bool"), ("matches", "bool"),
    ("int", "number"), ("uint", "number"), ("double", "number"), ("string", "text"), ("bytes", "bytes"),
    ("bool", "bool"), ("dyn", "any"), ("type", "any"), ("timestamp", "time"), ("duration", "span"),
    ("getFullYear", "number"), ("getMonth", "number"), ("getDate", "number"), ("getDayOfMonth", "number"),
    ("getDayOfWeek", "number"), ("getDayOfYear", "number"), ("getHours", "number"), ("getMinutes", "number"),
    ("getSeconds", "number"), ("getMilliseconds", "number"),
    ("optional.of", "any"), ("optional.none", "any"), ("optional.ofNonZeroValue", "any"), ("hasValue", "bool"),
    ("or", "any"), ("orValue", "any"), ("value", "any"), ("@in", "bool"), ("@not_strictly_false", "bool"),
    ("!_", "bool"), ("_?_:_", "any"), ("_[_]", "any"), ("_[?_]", "any"), ("_?._", "any"),
];
const TYPES: [&str; 13] = [
    "bool",
    "bytes",
    "double",
    "duration",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "timestamp",
    "type",
    "uint",
];

/// Checks an expression.
///
/// # Errors
/// Each mistake with its place.
pub(super) fn check(expression: &IdedExpr, places: &SourceInfo, view: &View) -> Result<(), Vec<String>> {
    let mut checker = Checker {
        places,
        view,
        locals: Vec::new(),
        wrong: Vec::new(),
    };
    let found = checker.infer(expression);
    if !found.may_be(Type::Bool) {
        checker.wrong.push(format!(
            "it is {}, expected true or false for each record",
            found.name()
        ));
    }
    match checker.wrong.is_empty() {
        true => Ok(()),
        false => Err(checker.wrong),
    }
}

/// A place in an expression, counted from 1.
pub(super) fn at(line: Option<usize>, column: Option<usize>) -> String {
    match (line, column) {
        (Some(0 | 1) | None, Some(column)) => format!("at its character {column}"),
        (Some(line), Some(column)) => format!("in its line {line}, at character {column}"),
        (_, None) => "in it".to_owned(),
    }
}

struct Checker<'e> {
    places: &'e SourceInfo,
    view: &'e View,
    /// Variables of the comprehensions around.
    locals: Vec<(&'e str, Type)>,
    wrong: Vec<String>,
}

impl<'e> Checker<'e> {
    fn wrong(&mut self, at: u64, what: impl std::fmt::Display) -> Type {
        let place = self.place(at);
        self.wrong.push(format!("{place}: {what}"));
        Type::Any
    }

    fn place(&self, id: u64) -> String {
        let before = (self.places.offset_for(id)).and_then(|(start, _)| self.places.source.get(..start as usize));
        let Some(before) = before else {
            return at(None, None);
        };
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        at(Some(line), Some(column))
    }

    fn infer(&mut self, expression: &'e IdedExpr) -> Type {
        match &expression.expr {
            Expr::Literal(literal) => literal_type(literal),
            Expr::Ident(name) => self.ident(expression.id, name),
            Expr::Select(select) => self.select(expression.id, select),
            Expr::Call(call) => self.call(expression.id, call),
            Expr::List(list) => {
                for element in &list.elements {
                    self.infer(element);
                }
                Type::List
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.infer(&entry.key);
                        self.infer(&entry.value);
                    }
                }
                Type::Map
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Struct(found) => self.wrong(expression.id, format!("there is no type {}", found.type_name)),
            Expr::Unspecified => Type::Any,
        }
    }

    fn ident(&mut self, id: u64, name: &str) -> Type {
        if let Some((_, known)) = self.locals.iter().rev().find(|(local, _)| *local == name) {
            return *known;
        }
        let seen = |expected| match expected {
            Expected::Json | Expected::TextOrBytes => Type::Any,
            Expected::Text => Type::Text,
            Expected::Bytes => Type::Bytes,
        };
        match name {
            "key" => seen(self.view.key),
            "value" => seen(self.view.value),
            "headers" => Type::Map,
            // One without a time has null.
            "timestamp" => Type::Any,
            _ if TYPES.contains(&name) => Type::Any,
            _ => self.wrong(
                id,
                format!("there is no {name}, expected key, value, headers or timestamp"),
            ),
        }
    }

    fn select(&mut self, id: u64, select: &'e SelectExpr) -> Type {
        let operand = self.infer(&select.operand);
        if !operand.may_be(Type::Map) {
            let hint = match &select.operand.expr {
                Expr::Ident(name) if name == "value" || name == "key" => {
                    format!(" (source.{name}.format: json makes it JSON)")
                }
                _ => String::new(),
            };
            self.wrong(
                id,
                format!("{} has no fields such as {}{hint}", operand.name(), select.field),
            );
        }
        if select.test { Type::Bool } else { Type::Any }
    }

    fn call(&mut self, id: u64, call: &'e CallExpr) -> Type {
        let qualified = call.target.as_deref().and_then(|target| match &target.expr {
            Expr::Ident(namespace) if namespace == "optional" => Some(format!("{namespace}.{}", call.func_name)),
            _ => None,
        });
        let mut found = Vec::new();
        let target = call.target.as_deref().filter(|_| qualified.is_none());
        for argument in target.into_iter().chain(&call.args) {
            found.push(self.infer(argument));
        }
        let name = qualified.as_deref().unwrap_or(&call.func_name);
        match name {
            operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT => {
                for (argument, found) in call
                    .args
                    .iter()
                    .zip(&found)
                    .filter(|(_, found)| !found.may_be(Type::Bool))
                {
                    self.wrong(argument.id, format!("found {}, expected true or false", found.name()));
                }
                Type::Bool
            }
            operators::CONDITIONAL => {
                if let Some(condition) = found.first().filter(|found| !found.may_be(Type::Bool)) {
                    self.wrong(
                        id,
                        format!("found {} before ?, expected true or false", condition.name()),
                    );
                }
                match found.as_slice() {
                    [_, yes, no] if yes == no => *yes,
                    _ => Type::Any,
                }
            }
            operators::EQUALS | operators::NOT_EQUALS => Type::Bool,
            operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS => {
                self.alike(id, name, &found);
                Type::Bool
            }
            operators::ADD | operators::SUBSTRACT => self.sum(id, name, &found),
            operators::MULTIPLY | operators::DIVIDE | operators::MODULO | operators::NEGATE => {
                for wrong in found.iter().filter(|found| !found.may_be(Type::Number)) {
                    self.wrong(id, format!("found {}, expected a number", wrong.name()));
                }
                Type::Number
            }
            _ => match FUNCTIONS.iter().find(|(known, _)| *known == name) {
                Some((_, comes_to)) => comes_to_type(comes_to),
                None => self.wrong(id, format!("there is no function {name}")),
            },
        }
    }

    fn alike(&mut self, id: u64, operator: &str, found: &[Type]) {
        if let [left, right] = found
            && !left.may_be(*right)
        {
            let operator = operator.trim_matches('_');
            self.wrong(id, format!("{} {operator} {} says nothing", left.name(), right.name()));
        }
    }

    fn sum(&mut self, id: u64, operator: &str, found: &[Type]) -> Type {
        match found {
            [Type::Time, Type::Time] => Type::Span,
            [Type::Time, Type::Span] | [Type::Span, Type::Time] => Type::Time,
            [left, right] => {
                self.alike(id, operator, found);
                if left == right { *left } else { Type::Any }
            }
            _ => Type::Any,
        }
    }

    fn comprehension(&mut self, comprehension: &'e ComprehensionExpr) -> Type {
        let range = self.infer(&comprehension.iter_range);
        if !range.may_be(Type::List) && range != Type::Map {
            self.wrong(
                comprehension.iter_range.id,
                format!("found {}, expected a list", range.name()),
            );
        }
        let sum = self.infer(&comprehension.accu_init);
        let outside = self.locals.len();
        self.locals.push((&comprehension.accu_var, sum));
        self.locals.push((&comprehension.iter_var, Type::Any));
        self.locals
            .extend(comprehension.iter_var2.as_deref().map(|name| (name, Type::Any)));
        for part in [&comprehension.loop_cond, &comprehension.loop_step] {
            self.infer(part);
        }
        let result = self.infer(&comprehension.result);
        self.locals.truncate(outside);
        result
    }
}

fn literal_type(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => Type::Bool,
        LiteralValue::Bytes(_) => Type::Bytes,
        LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => Type::Number,
        LiteralValue::Null => Type::Null,
        LiteralValue::String(_) => Type::Text,
    }
}

fn comes_to_type(name: &str) -> Type {
    match name {
        "bool" => Type::Bool,
        "number" => Type::Number,
        "text" => Type::Text,
        "bytes" => Type::Bytes,
        "time" => Type::Time,
        "span" => Type::Span,
        _ => Type::Any,
    }
}

/// The members of `value` that an expression names; `None` where it looks at the value in another way.
pub(super) fn members_of_value(expression: &IdedExpr) -> Option<BTreeSet<String>> {
    let mut members = BTreeSet::new();
    collect(expression, &mut members).then_some(members)
}

fn collect(expression: &IdedExpr, members: &mut BTreeSet<String>) -> bool {
    let is_value = |inner: &IdedExpr| matches!(&inner.expr, Expr::Ident(name) if name == "value");
    match &expression.expr {
        Expr::Ident(name) => name != "value",
        Expr::Select(select) if is_value(&select.operand) => {
            members.insert(select.field.clone());
            true
        }
        Expr::Call(call) if call.func_name.starts_with("_[") || call.func_name == operators::OPT_SELECT => {
            match call.args.as_slice() {
                [of, name] if is_value(of) => match &name.expr {
                    Expr::Literal(LiteralValue::String(name)) => {
                        members.insert(name.inner().to_owned());
                        true
                    }
                    _ => false,
                },
                args => args.iter().all(|inner| collect(inner, members)),
            }
        }
        _ => budget::parts(expression)
            .into_iter()
            .all(|inner| collect(inner, members)),
    }
}
