// Package broker keeps the messages of one queue and its dead-letter queue, and decides who gets which when.
// It knows nothing of connections: a [Consumer] says how much it can take, and the broker calls its [Sink].
//
//	send     -> duplicate? drop : scheduled? wait until due : ready
//	ready    -> a consumer with credit, in order of sequence number: locked, or removed in receive-and-delete
//	locked   -> complete: removed; abandon, lock expired: count one failed delivery, ready again
//	            defer: only by number; dead-letter, or MaxDelivery failed deliveries: dead-letter queue
//	ready    -> time to live over: removed or dead-letter queue
//	session  -> all its messages go to the one consumer that holds its lock, in order
//
// Every public method first does what has become due by the clock, so the state a caller sees is that of now,
// whether or not a timer has run. Sinks are called with the queue locked: they must not block or call back.
package broker
