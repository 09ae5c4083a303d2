package main

import (
	"context"
	"fmt"
	"io"

	"github.com/mailferry/mailferry/scripts/stack"
)

// hold prints how to reach every part and waits for an interrupt.
func hold(ctx context.Context, s *stack.Stack, pairs []pair, out io.Writer) {
	identity, header := s.Graph.IdentityEndpoint()
	fmt.Fprintf(out, `
Everything keeps running until Ctrl-C.

EWS            %s
  account      %s\%s   password %s   (may impersonate every mailbox)
  owners       %s\%s … %s   password %s   (each has its own mailbox)
  sign-in      NTLM, Negotiate or Basic
  mailboxes    %s … %s
Graph          %s
  token        %s
  identity     %s   X-IDENTITY-HEADER: %s
  mailboxes    %s … %s
Service Bus    %s
Azurite        %s
Functions      %s
  key          %s   (x-functions-key)
  master key   %s
  ferry        FERRY_URL=%s FERRY_KEY=%s go run ./scripts/ferry doctor
  in a browser %s/api/waves?code=%s
`, s.EWS.URL(), stack.ServiceDomain, stack.ServiceUser, stack.ServicePassword,
		stack.ServiceDomain, owner(0), owner(len(pairs)-1), ownerPassword,
		pairs[0].source.Address, pairs[len(pairs)-1].source.Address,
		s.Graph.URL(), s.Graph.Token(), identity, header, pairs[0].target.Address, pairs[len(pairs)-1].target.Address,
		s.Bus.ConnectionString(), s.Storage, s.Host.URL(), s.Host.Key(), s.Host.MasterKey(),
		s.Host.URL(), s.Host.Key(), s.Host.URL(), s.Host.Key())
	<-ctx.Done()
}
