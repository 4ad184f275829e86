// A gRPC client that makes four calls on one connection.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func main() {
	to := flag.String("to", "127.0.0.1:8080", "address of Poise")
	flag.Parse()
	conn, err := grpc.NewClient(*to, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	for _, item := range []string{"tea", "milk", "sugar", "a spoon"} {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		answer := new(wrapperspb.StringValue)
		err := conn.Invoke(ctx, "/shop.Cart/Add", wrapperspb.String(item), answer)
		cancel()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(answer.Value)
	}
}
