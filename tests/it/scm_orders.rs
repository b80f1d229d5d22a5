//! Orders of public certificates against renewd-ccm: each thing that `Orders` can do, alone, over the wire.

mod adoption;
mod application;
mod hand;
mod purchase;
mod unpleasant;
