//! `law.model` of uploads: on random sequences the rules answer what the model says; and on every
//! short sequence of a small world.
