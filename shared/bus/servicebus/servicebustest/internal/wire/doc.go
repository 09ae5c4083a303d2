// Package wire reads and writes AMQP 1.0 (OASIS, October 2012): values, frames, performatives and messages.
//
// What it reads comes from strangers, so every decoder is bounded: values nest at most [MaxDepth] deep and hold
// at most [MaxItems] items together, a frame is at most as long as the caller allows, and nothing is allocated on
// the word of a count or a length before the bytes for it are there.
//
// A message keeps its bare part (properties, application properties, body) as the bytes the sender wrote, since
// the specification (3.2) lets nobody on the way change them.
package wire
