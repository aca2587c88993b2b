//! A bound on what an expression may do with one record: comprehensions within comprehensions multiply.

use std::cell::Cell;

use cel::common::ast::{CallExpr, EntryExpr, Expr, operators};
use cel::common::types::{CelBool, CelList, CelMap, DYN_TYPE};
use cel::common::value::{CowVal, Val};
use cel::{DeclarationError, Env, ExecutionError, IdedExpr};

/// Steps of comprehensions and values that they copy, all together: a second at the most, nearly always far less.
const BUDGET: u32 = 250_000;
/// A step may look at all that is seen of the record: so many of its values, and so many of its bytes, make it dearer by one.
const VALUES_A_UNIT: usize = 1024;
const BYTES_A_UNIT: usize = 64 * 1024;
/// No expression can say these.
const STEP: &str = "@step";
const COPY: &str = "@copy";
/// How the end of the budget is recognised.
pub(super) const SPENT: &str = "the budget is spent";

thread_local! {
    /// An expression is evaluated in one go.
    static LEFT: Cell<u32> = const { Cell::new(0) };
    static STEP_COSTS: Cell<u32> = const { Cell::new(1) };
}

/// The next evaluation on this thread has all of it, with steps for a record of this size.
pub(super) fn renew(values: usize, bytes: usize) {
    LEFT.set(BUDGET);
    let costs = 1 + values / VALUES_A_UNIT + bytes / BYTES_A_UNIT;
    STEP_COSTS.set(u32::try_from(costs).unwrap_or(u32::MAX));
}

pub(super) fn declare(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_overload(STEP, "fnbridge_step", Vec::new(), step)?;
    env.add_overload(COPY, "fnbridge_copy", vec![DYN_TYPE], copy)
}

fn step<'b, 'v>(_: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    spend(STEP_COSTS.get()).map(|()| CowVal::owned(CelBool::from(true)))
}

fn copy<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let copied = args.pop().ok_or(ExecutionError::MissingArgumentOrTarget)?;
    let mut left = LEFT.get();
    let enough = count(copied.as_ref(), &mut left);
    LEFT.set(left);
    if enough {
        Ok(copied)
    } else {
        spend(u32::MAX).map(|()| copied)
    }
}

fn spend(units: u32) -> Result<(), ExecutionError> {
    let left = LEFT.get().checked_sub(units);
    LEFT.set(left.unwrap_or(0));
    left.map(|_| ())
        .ok_or_else(|| ExecutionError::function_error(STEP, SPENT))
}

/// Takes one for each value within a value; false once there are none left.
fn count(value: &dyn Val, left: &mut u32) -> bool {
    let Some(less) = left.checked_sub(1) else {
        return false;
    };
    *left = less;
    if let Some(list) = value.downcast_ref::<CelList>() {
        return list.inner().iter().all(|inner| count(inner.as_ref(), left));
    }
    if let Some(map) = value.downcast_ref::<CelMap>() {
        return map.inner().values().all(|inner| count(inner.as_ref(), left));
    }
    true
}

/// Has each comprehension ask for each of its steps and for what it copies.
pub(super) fn bound(expression: &mut IdedExpr) {
    bound_within(expression, false);
}

fn bound_within(expression: &mut IdedExpr, repeated: bool) {
    match &mut expression.expr {
        Expr::Comprehension(comprehension) => {
            let c = &mut **comprehension;
            bound_within(&mut c.iter_range, repeated);
            ask(&mut c.iter_range);
            for part in [&mut c.loop_cond, &mut c.loop_step] {
                bound_within(part, true);
            }
            bound_within(&mut c.result, repeated);
            let goes_on = std::mem::take(&mut c.loop_cond);
            let id = goes_on.id;
            c.loop_cond = call(id, operators::LOGICAL_AND, vec![call(id, STEP, Vec::new()), goes_on]);
        }
        Expr::Call(call) => {
            let parts = call.target.as_deref_mut().into_iter().chain(&mut call.args);
            parts.for_each(|part| bound_within(part, repeated));
        }
        Expr::List(list) => list
            .elements
            .iter_mut()
            .for_each(|element| put_together(element, repeated)),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                match &mut entry.expr {
                    EntryExpr::MapEntry(entry) => {
                        bound_within(&mut entry.key, repeated);
                        put_together(&mut entry.value, repeated);
                    }
                    EntryExpr::StructField(field) => bound_within(&mut field.value, repeated),
                }
            }
        }
        Expr::Select(select) => bound_within(&mut select.operand, repeated),
        Expr::Struct(_) | Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}

/// What stands in a list or map is copied into it, once a step where that is within a comprehension.
fn put_together(part: &mut IdedExpr, repeated: bool) {
    bound_within(part, repeated);
    if repeated && !matches!(part.expr, Expr::Literal(_)) {
        ask(part);
    }
}

fn ask(part: &mut IdedExpr) {
    let asked = std::mem::take(part);
    *part = call(asked.id, COPY, vec![asked]);
}

/// The expressions that an expression is made of.
pub(super) fn parts(expression: &IdedExpr) -> Vec<&IdedExpr> {
    match &expression.expr {
        Expr::Comprehension(c) => vec![&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result],
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => {
            let entries = map.entries.iter().map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
                EntryExpr::StructField(field) => vec![&field.value],
            });
            entries.flatten().collect()
        }
        Expr::Select(select) => vec![&select.operand],
        Expr::Struct(_) | Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
    }
}

fn call(id: u64, name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    let call = CallExpr {
        func_name: name.to_owned(),
        target: None,
        args,
    };
    IdedExpr {
        id,
        expr: Expr::Call(call),
    }
}
