//! The shaders as text: their layout, their translation to each language, and what other compilers
//! and implementations make of them.

#[path = "shaders/browsers.rs"]
mod browsers;
mod common;
#[path = "shaders/metal.rs"]
mod metal;
#[path = "common/noop.rs"]
mod noop;
#[path = "shaders/params_layout.rs"]
mod params_layout;
#[path = "common/shaders.rs"]
mod shaders;
#[path = "shaders/translations.rs"]
mod translations;
