//! Which functions there are, on what, and what they give: what is judged before an expression runs.

use super::types::Type;

/// Words before a dot that are no values but the names of libraries.
pub(super) const LIBRARIES: [&str; 4] = ["sets", "optional", "ip", "strings"];

/// What a call is known to give.
pub(super) enum Found<'s> {
    /// A value of this type.
    Gives(Type<'s>),
    /// There is such a function, but not for these.
    WrongArguments,
    /// There is no such function.
    Unknown,
}

/// Finds a function of a library, such as `sets.contains`.
pub(super) fn of_library<'s>(library: &str, name: &str, args: &[Type<'s>]) -> Found<'s> {
    let optional = |inner: Type<'s>| Found::Gives(Type::Optional(Box::new(inner)));
    match (library, name, args) {
        ("sets", "contains" | "equivalent" | "intersects", [_, _]) => Found::Gives(Type::Bool),
        ("optional", "none", []) => optional(Type::Dyn),
        ("optional", "of" | "ofNonZeroValue", [inner]) => optional(inner.clone()),
        ("ip", "isCanonical", [_]) => Found::Gives(Type::Bool),
        ("strings", "quote", [text]) => Found::Gives(text.clone()),
        ("sets", "contains" | "equivalent" | "intersects", _)
        | ("optional", "none" | "of" | "ofNonZeroValue", _)
        | ("ip", "isCanonical", _)
        | ("strings", "quote", _) => Found::WrongArguments,
        _ => Found::Unknown,
    }
}

/// Finds a function that stands alone.
pub(super) fn global<'s>(name: &str, args: &[Type<'s>]) -> Found<'s> {
    use Type::{Bool, Bytes, Double, Duration, Int, Kind, Library, Text, Timestamp, Uint};
    let one = |given: Type<'s>| match args {
        [_] => Found::Gives(given),
        _ => Found::WrongArguments,
    };
    let size = args.first().map_or(1, Type::size);
    match name {
        "size" => match args {
            [Type::Int | Type::Bool | Type::Uint | Type::Double] => Found::WrongArguments,
            [_] => Found::Gives(Int),
            _ => Found::WrongArguments,
        },
        "int" => one(Int),
        "uint" => one(Uint),
        "double" => one(Double),
        "bool" | "isURL" | "isQuantity" | "isIP" | "isCIDR" => one(Bool),
        "string" => one(Text(size.max(64))),
        "bytes" => one(Bytes(size)),
        "dyn" => one(Type::Dyn),
        "type" => one(Kind),
        "timestamp" => one(Timestamp),
        "duration" => one(Duration),
        "url" => one(Library("kubernetes.URL")),
        "quantity" => one(Library("kubernetes.Quantity")),
        "ip" => one(Library("net.IP")),
        "cidr" => one(Library("net.CIDR")),
        "semver" | "isSemver" if matches!(args.len(), 1 | 2) => Found::Gives(if name == "semver" {
            Library("kubernetes.Semver")
        } else {
            Bool
        }),
        "matches" => match args {
            [_, _] => Found::Gives(Bool),
            _ => Found::WrongArguments,
        },
        _ => Found::Unknown,
    }
}

/// Finds a function of a value.
pub(super) fn method<'s>(target: &Type<'s>, name: &str, args: &[Type<'s>]) -> Found<'s> {
    if target.is_open() {
        return if is_method(name) {
            Found::Gives(open_result(name))
        } else {
            Found::Unknown
        };
    }
    let given = match target {
        Type::Text(size) => text_method(*size, name, args),
        Type::List(element, size) => list_method(element, *size, name, args),
        Type::Bytes(_) | Type::Map(..) if (name, args.len()) == ("size", 0) => Some(Type::Int),
        Type::Optional(inner) => optional_method(inner, name, args),
        Type::Timestamp | Type::Duration => time_method(name, args),
        Type::Library(library) => library_method(library, name, args),
        _ => None,
    };
    match given {
        Some(given) => Found::Gives(given),
        None if is_method(name) => Found::WrongArguments,
        None => Found::Unknown,
    }
}

fn text_method<'s>(size: u64, name: &str, args: &[Type<'s>]) -> Option<Type<'s>> {
    let texts = || Type::List(Box::new(Type::Text(size)), size);
    Some(match (name, args.len()) {
        ("contains" | "startsWith" | "endsWith" | "matches", 1) => Type::Bool,
        ("size", 0) | ("indexOf" | "lastIndexOf", 1 | 2) => Type::Int,
        ("charAt" | "find" | "substring", 1) | ("substring", 2) => Type::Text(size),
        ("lowerAscii" | "upperAscii" | "trim" | "reverse", 0) => Type::Text(size),
        ("replace", 2 | 3) => Type::Text(size.saturating_mul(2)),
        ("split", 1 | 2) | ("findAll", 1 | 2) => texts(),
        ("format", 1) => Type::Text(size.saturating_add(1024)),
        _ => return None,
    })
}

fn list_method<'s>(
    element: &Type<'s>,
    size: u64,
    name: &str,
    args: &[Type<'s>],
) -> Option<Type<'s>> {
    let same = || Type::List(Box::new(element.clone()), size);
    Some(match (name, args.len()) {
        ("size", 0) | ("indexOf" | "lastIndexOf", 1) => Type::Int,
        ("isSorted", 0) => Type::Bool,
        ("sum" | "min" | "max", 0) => element.clone(),
        ("join", 0 | 1) => Type::Text(size.saturating_mul(element.size())),
        ("distinct" | "reverse" | "sort", 0) | ("slice", 2) => same(),
        ("flatten", 0) => Type::List(Box::new(Type::Dyn), size),
        ("includes", 1) => Type::Bool,
        _ => return None,
    })
}

fn optional_method<'s>(inner: &Type<'s>, name: &str, args: &[Type<'s>]) -> Option<Type<'s>> {
    Some(match (name, args) {
        ("hasValue", []) => Type::Bool,
        ("value", []) => inner.clone(),
        ("orValue", [other]) => match inner {
            Type::Dyn => other.clone(),
            inner => inner.clone(),
        },
        ("or", [other]) => other.clone(),
        _ => return None,
    })
}

fn time_method<'s>(name: &str, args: &[Type<'s>]) -> Option<Type<'s>> {
    let known = [
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getFullYear",
        "getHours",
        "getMilliseconds",
        "getMinutes",
        "getMonth",
        "getSeconds",
    ];
    (known.contains(&name) && args.len() <= 1).then_some(Type::Int)
}

fn library_method<'s>(library: &'static str, name: &str, args: &[Type<'s>]) -> Option<Type<'s>> {
    let own = Type::Library(library);
    Some(match (library, name, args.len()) {
        (
            "kubernetes.URL",
            "getScheme" | "getHost" | "getHostname" | "getPort" | "getEscapedPath",
            0,
        ) => Type::Text(2048),
        ("kubernetes.URL", "getQuery", 0) => {
            let values = Type::List(Box::new(Type::Text(2048)), 64);
            Type::Map(Box::new(Type::Text(2048)), Box::new(values), 64)
        }
        ("kubernetes.Quantity", "isGreaterThan" | "isLessThan", 1)
        | ("kubernetes.Quantity", "isInteger", 0) => Type::Bool,
        ("kubernetes.Quantity", "compareTo", 1)
        | ("kubernetes.Quantity", "sign" | "asInteger", 0) => Type::Int,
        ("kubernetes.Quantity", "asApproximateFloat", 0) => Type::Double,
        ("kubernetes.Quantity", "add" | "sub", 1) => own,
        ("net.IP", "family", 0) | ("net.CIDR", "prefixLength", 0) => Type::Int,
        (
            "net.IP",
            "isUnspecified"
            | "isLoopback"
            | "isLinkLocalMulticast"
            | "isLinkLocalUnicast"
            | "isGlobalUnicast",
            0,
        )
        | ("net.CIDR", "containsIP" | "containsCIDR", 1) => Type::Bool,
        ("net.CIDR", "ip", 0) => Type::Library("net.IP"),
        ("net.CIDR", "masked", 0) => own,
        ("kubernetes.Semver", "major" | "minor" | "patch", 0)
        | ("kubernetes.Semver", "compareTo", 1) => Type::Int,
        ("kubernetes.Semver", "isGreaterThan" | "isLessThan", 1) => Type::Bool,
        _ => return None,
    })
}

/// Functions of values, whatever they are of.
fn is_method(name: &str) -> bool {
    const NAMES: [&str; 59] = [
        "add",
        "asApproximateFloat",
        "asInteger",
        "charAt",
        "compareTo",
        "contains",
        "containsCIDR",
        "containsIP",
        "distinct",
        "endsWith",
        "family",
        "find",
        "findAll",
        "flatten",
        "format",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getEscapedPath",
        "getFullYear",
        "getHost",
        "getHostname",
        "getHours",
        "getMilliseconds",
        "getMinutes",
        "getMonth",
        "getPort",
        "getQuery",
        "getScheme",
        "getSeconds",
        "hasValue",
        "includes",
        "indexOf",
        "ip",
        "isGlobalUnicast",
        "isGreaterThan",
        "isInteger",
        "isLessThan",
        "isLinkLocalMulticast",
        "isLinkLocalUnicast",
        "isLoopback",
        "isSorted",
        "isUnspecified",
        "join",
        "lastIndexOf",
        "lowerAscii",
        "major",
        "masked",
        "matches",
        "max",
        "min",
        "minor",
        "or",
        "orValue",
        "patch",
        "prefixLength",
        "replace",
        "reverse",
    ];
    const MORE: [&str; 12] = [
        "sign",
        "size",
        "slice",
        "sort",
        "split",
        "startsWith",
        "sub",
        "substring",
        "sum",
        "trim",
        "upperAscii",
        "value",
    ];
    NAMES.contains(&name) || MORE.contains(&name)
}

fn open_result<'s>(name: &str) -> Type<'s> {
    match name {
        "size" | "indexOf" | "lastIndexOf" | "compareTo" => Type::Int,
        "startsWith" | "endsWith" | "contains" | "matches" | "hasValue" | "isSorted" => Type::Bool,
        _ => Type::Dyn,
    }
}
