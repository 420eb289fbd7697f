#![doc = include_str!("../ARCHITECTURE.md")]

pub mod clock;
pub mod config;
pub mod crash;
pub mod database;
pub mod discord;
pub mod ids;
pub mod mail;
pub mod store;

pub mod queue;

pub mod alarms;
pub mod audit;
pub mod files;
pub mod oauth;
pub mod people;
pub mod settings;

pub mod tickets;

pub mod assign;
pub mod deliver;
pub mod ingest;
pub mod reports;
pub mod triage;

pub mod schedule;
pub mod sources;
pub mod web;
pub mod worker;

pub mod app;
pub mod cli;
pub mod demo;
