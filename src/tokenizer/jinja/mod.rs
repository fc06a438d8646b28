//! The Jinja dialect of chat templates: what `transformers.apply_chat_template` gives them
//! (Hugging Face documentation, "Chat templates"), and Python's own methods and formats.
//!
//! In: a template's source. Out: an environment that renders it as Jinja2 under Python would.

mod dates;
mod filters;
mod json;
mod methods;
mod percent;
mod printf;
mod python;
mod source;
mod split;

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind};

pub(in crate::tokenizer) use dates::strftime;

/// Instructions of the template engine per rendering: two orders of magnitude above what a long
/// conversation takes, so that a hostile template ends.
const FUEL: u64 = 50_000_000;

/// An environment with the one template `name`, parsed from `source`.
pub(super) fn environment(name: &'static str, source: &str) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    let mut syntax = environment.syntax().to_builder();
    environment.set_syntax(syntax.trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(|out, _, value| out.write_str(&python::text(value)?).map_err(Error::from));
    environment.set_unknown_method_callback(methods::call);
    minijinja_contrib::add_to_environment(&mut environment);
    environment.add_function("raise_exception", raise_exception);
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("int", filters::int);
    environment.add_filter("float", filters::float);
    environment.add_filter("string", filters::string);
    environment.add_filter("format", filters::format);
    environment.add_filter("center", filters::center);
    environment.add_filter("wordcount", filters::wordcount);
    environment.add_filter(percent::FILTER, printf::percent);
    environment.add_filter("truncate", filters::truncate);
    environment.add_test("iterable", filters::is_iterable);
    environment.add_test("sequence", filters::is_sequence);
    environment.add_template_owned(name, source::prepared(source))?;
    Ok(environment)
}

/// `raise_exception(text)`: the template refuses the conversation.
fn raise_exception(text: String) -> Result<Value, Error> {
    Err(refused(text))
}

/// An error with these words.
fn refused(text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, text)
}
