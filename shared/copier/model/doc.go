// Package model is the shard protocol as a state machine.
package model
