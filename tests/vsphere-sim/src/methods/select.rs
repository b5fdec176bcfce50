//! Which objects a PropertyFilterSpec selects, and what it reads of them.

use std::collections::{BTreeMap, HashMap};

use crate::properties;
use crate::wire::{Fault, Object, Outcome, Ref, Value, object, schema};
use crate::world::World;

/// What is read of one object: values by path, and faults by path.
#[derive(Default)]
pub struct Reading {
    pub values: BTreeMap<String, Value>,
    pub missing: Vec<(String, Fault)>,
}

/// All objects of a filter with what is read of them. An object that is gone is a fault, or passed over where the filter
/// says so.
pub fn read(
    world: &World,
    session: &str,
    spec: &Object,
    lenient: bool,
) -> Outcome<Vec<(Ref, Reading)>> {
    check(spec)?;
    let mut found = Vec::new();
    for set in spec.objects("objectSet") {
        let Some(target) = set.reference("obj") else {
            continue;
        };
        if let Err(fault) = properties::exists(world, session, target) {
            if lenient || spec.bool("reportMissingObjectsInResults") == Some(true) {
                continue;
            }
            return Err(fault);
        }
        let mut named = HashMap::new();
        collect_names(set, &mut named)?;
        let mut walk = Walk {
            world,
            session,
            named,
            seen: Vec::new(),
            found: &mut found,
        };
        walk.visit(target, set.bool("skip") == Some(true), set)?;
    }
    let mut result: Vec<(Ref, Reading)> = Vec::new();
    for target in found {
        if result.iter().any(|(other, _)| other == &target) {
            continue;
        }
        if let Some(reading) = read_one(world, session, spec, &target)? {
            result.push((target, reading));
        }
    }
    Ok(result)
}

/// Refuses types and paths that do not exist, before anything is looked at.
fn check(spec: &Object) -> Outcome<()> {
    for set in spec.objects("propSet") {
        let kind = set.text("type").unwrap_or_default();
        if !schema().is_managed(kind) {
            return Err(Fault::invalid_argument("specSet.propSet.type"));
        }
        for path in set.texts("pathSet") {
            properties::path::parse(kind, path)?;
        }
    }
    Ok(())
}

/// What the property sets read of an object; `None` where none is for its type.
fn read_one(world: &World, session: &str, spec: &Object, target: &Ref) -> Outcome<Option<Reading>> {
    let sets: Vec<&Object> = spec
        .objects("propSet")
        .filter(|set| {
            set.text("type")
                .is_some_and(|kind| schema().managed_is_a(&target.kind, kind))
        })
        .collect();
    if sets.is_empty() {
        return Ok(None);
    }
    let mut reading = Reading::default();
    for set in sets {
        let paths: Vec<String> = if set.bool("all") == Some(true) {
            properties::all_names(&target.kind)
        } else {
            set.texts("pathSet").map(str::to_owned).collect()
        };
        for path in paths {
            match properties::get(world, session, target, &path) {
                Ok(Some(value)) => {
                    reading.values.insert(path, value);
                }
                Ok(None) => {}
                Err(fault) if fault.kind() == "InvalidProperty" => return Err(fault),
                Err(fault) => reading.missing.push((path, fault)),
            }
        }
    }
    Ok(Some(reading))
}

fn collect_names<'s>(
    selection: &'s Object,
    named: &mut HashMap<&'s str, &'s Object>,
) -> Outcome<()> {
    for step in selection.objects("selectSet") {
        if step.kind == "TraversalSpec" {
            if let Some(name) = step.text("name") {
                named.insert(name, step);
            }
            let (kind, path) = (
                step.text("type").unwrap_or_default(),
                step.text("path").unwrap_or_default(),
            );
            let property = schema().property(kind, path.split('.').next().unwrap_or_default());
            if property.is_none() {
                return Err(properties::path::invalid(path));
            }
            collect_names(step, named)?;
        }
    }
    Ok(())
}

struct Walk<'w> {
    world: &'w World,
    session: &'w str,
    named: HashMap<&'w str, &'w Object>,
    /// The steps taken from each object: no step is taken twice.
    seen: Vec<(Ref, *const Object)>,
    found: &'w mut Vec<Ref>,
}

impl<'w> Walk<'w> {
    fn visit(&mut self, target: &Ref, skip: bool, selection: &'w Object) -> Outcome<()> {
        if !skip {
            self.found.push(target.clone());
        }
        for step in selection.objects("selectSet") {
            let step = match step.kind.as_str() {
                "TraversalSpec" => step,
                _ => {
                    let name = step.text("name").unwrap_or_default();
                    *self
                        .named
                        .get(name)
                        .ok_or_else(|| Fault::invalid_argument("selectSet.name"))?
                }
            };
            self.follow(target, step)?;
        }
        Ok(())
    }

    fn follow(&mut self, target: &Ref, step: &'w Object) -> Outcome<()> {
        let kind = step.text("type").unwrap_or_default();
        if !schema().managed_is_a(&target.kind, kind) {
            return Ok(());
        }
        let mark = (target.clone(), std::ptr::from_ref(step));
        if self.seen.contains(&mark) {
            return Ok(());
        }
        self.seen.push(mark);
        let value = properties::get(
            self.world,
            self.session,
            target,
            step.text("path").unwrap_or_default(),
        );
        let Ok(Some(value)) = value else {
            return Ok(());
        };
        for next in references(&value) {
            self.visit(&next, step.bool("skip") == Some(true), step)?;
        }
        Ok(())
    }
}

fn references(value: &Value) -> Vec<Ref> {
    match value {
        Value::Ref(reference) => vec![reference.clone()],
        Value::List(values) => values.iter().flat_map(references).collect(),
        Value::Typed(_, inner) => references(inner),
        _ => Vec::new(),
    }
}

/// The `missingSet` of what could not be read.
pub fn missing_set(missing: &[(String, Fault)]) -> Vec<Object> {
    let each = missing.iter().map(|(path, fault)| {
        object("MissingProperty")
            .with("path", path)
            .with("fault", fault.localized())
    });
    each.collect()
}
