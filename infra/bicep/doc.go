// Package bicep reads the Bicep of this project and works out which resources a deployment would make, so that tests can
// hold them against the code. It knows the part of the language that infra uses and refuses the rest; the Bicep compiler
// remains the judge of types.
//
//	read a file into declarations        lex.go, parse.go
//	read a parameter file                deploy.go
//	put parameters in, follow modules,   deploy.go, eval.go, functions.go
//	write down every resource
//
// What only Azure knows, such as a resource's endpoints, stands as «symbol.path» in the values.
package bicep
