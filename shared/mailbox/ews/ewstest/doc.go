// Package ewstest is the EWS endpoint of an on-premises Exchange 2016 for tests: use it as net/http/httptest is used.
// It speaks NTLM, Negotiate and Basic, SOAP as the published schema has it, and keeps its mailboxes in
// exchangetest. It refuses what Exchange refuses; faults are asked for by functions whose names read as a sentence.
//
//	s := ewstest.New(t, ewstest.Options{})
//	s.AddMailbox(m)
//	s.AddAccount("svc", "secret", "CORP", ewstest.MayImpersonateAll())
//	s.Busy("svc", 1500*time.Millisecond, 2)
//	client := ews.Dial(s.URL(), …)
package ewstest
