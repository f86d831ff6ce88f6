// Package actors is the vocabulary that the rooms of wskit share. It knows nothing of HTTP, WebSocket libraries or Redis.
//
// Whoever drives a hub by messages instead of function calls needs this package and hubactor, and of this one the following, which is
// promised as the facade is:
//   - the messages to a hub: Register, Unregister, Join, Leave, Broadcast, Publish, Recall, DisconnectUser, Topics, Count, Subscribe,
//     Unsubscribe, Open, Shutdown, Tree, Describe, and Crash for tests;
//   - the messages to tenants: Tenant, ToTenant, StopTenant, TenantNames, TenantStats;
//   - the events that come back: Connected, Disconnected, Received, Dropped, RedisChanged, Subscribed, Failed;
//   - what stands in these: Subscriber and Connection; Frame, made by NewFrame or NewBinaryFrame, its Placement; Position and
//     ParsePosition, Cursor, History; Reason; UserTopic, which names the topic
//     that all connections of a user are in; CheckTopic, CheckSubscriber and CheckClose, which tell beforehand what a hub would not take;
//   - the errors and the Default constants; System, the actor system that hubs share, and NewSystem, which makes another.
//
// The rest is machinery of the rooms, and changes with them: the Outbox that is the mailbox of a connection, the Gate that bounds what
// callers hand the hub, the Roll of who is subscribed by their word, topics and who sits in them, sockets and what the kernel knows of
// them, pools and goroutines, supervision.
package actors
