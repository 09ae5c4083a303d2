// Package invoke speaks the custom-handler protocol of Azure Functions: the host posts an envelope to
// /{function}, the handler answers an outcome. It is the only package that knows the protocol.
//
//	read the envelope           malformed: 500, naming the field
//	decode what triggered it    a Message, a Tick or an HTTP request
//	do                          a panic is an error with a stack
//	log one line                function, id, session, delivery, seconds, outcome; never a body
//	answer                      nil: 200 {}   error: 500 {"error": …}
//
// The host reads nothing from a failure but its status: a message is abandoned and delivered again at once.
// What happens next otherwise (later, never) is decided before the answer, not by it.
//
// Service Bus triggers must be bound with "dataType": "binary". Without it the host copies the fields of a
// JSON body over the message's own metadata.
package invoke
