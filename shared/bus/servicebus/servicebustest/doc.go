// Package servicebustest is a Service Bus namespace for tests and local runs, as net/http/httptest is a web
// server: queues only, in memory, in this process, spoken to over AMQP 1.0 by any client.
//
//	s := servicebustest.New(t, servicebustest.Queue{Name: "copy", Sessions: true})
//	client, err := azservicebus.NewClientFromConnectionString(s.ConnectionString(), nil)
//
// What it does, as published for the Standard tier: peek-lock and receive-and-delete, renew, complete, abandon,
// defer, dead-letter (path queue/$DeadLetterQueue), delivery limit, time to live, scheduled messages and their
// cancelling, duplicate detection, sessions with state, batches, peeking, tokens over $cbs, and the operations of
// the $management node. What it refuses, it refuses with the conditions of the service.
//
// What it does not do: topics, forwarding, transactions, partitions, browsing over a link, the web
// management interface. A message is lost when the process ends.
//
// Two clocks: everything a queue does (locks, schedules, time to live, duplicate window) goes by Options.Clock;
// what a connection does (heartbeats, a client's own timeouts) goes by Options.ConnClock, which should be real
// when the client is.
package servicebustest
