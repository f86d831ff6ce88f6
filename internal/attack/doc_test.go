// Package attack_test tries to break a hub from outside: crashes in storms, peers that stall or fall silent, options and bytes
// without sense, callers that give up. Real sockets, and pipes where thousands of runs are asked for.
//
// The invariants of the design, and the tests that would fail without each. Other packages are named; the rest is here.
//
// 1. Nothing the hub accepted is lost on the way to a healthy subscriber; what is dropped is counted and reported, once per
// episode and with its number.
//
//   - TestARegistryThatCrashesInAStormLosesNothingAndPairsEvents, TestAHubThatGivesUpStillDrains
//   - TestEachEpisodeOfDroppingIsReportedOnceWithItsNumber, TestWhatWasDroppedIsReportedHoweverManyEndAtOnce,
//     TestWhatWasDroppedIsReportedThoughTheSupervisorIsBehind, TestOnDropIsToldFromTheFirstMessageOn
//   - TestAPeerThatStallsAndThenReadsGetsWhatThePolicySays, TestADrainTimeoutThatNeverEndsCostsNoMessage
//   - FuzzSSEEndToEnd, FuzzWebSocketBatchesAreReadBack
//   - actors: TestAnOutboxBehavesLikeItsModel; hubactor: TestARegistryBehavesLikeItsModel,
//     TestWhatTheHubAcceptedSurvivesCrashesOfItsChildren; internal/contract: TestABurstAcrossCrashesOfTheRegistryLosesNothing
//
// 2. No call of the facade waits longer than its documented timeout, and none waits on a peer.
//
//   - TestTheExplicitCallsSayWhatHappened, TestShutdownIsBoundedByTheContextAndByTheDrainTimeout, TestShutdownFromACallback,
//     FuzzOptions, TestAHundredStalledClientsDoNotSlowTheOtherNineHundred
//   - actors: TestAGateBehavesLikeItsModel; internal/contract: TestAStalledPeerDelaysNobodyAndGetsEverythingWithinItsBufferInOrder,
//     TestWhenTheQueueIsFullAnOperationWaitsUpToTheChannelTimeoutThenCallsOnTimeout
//
// 3. A subscriber's Close is called exactly once by the hub; OnConnect and OnDisconnect come in pairs, in that order.
//
//   - TestARegistryThatCrashesInAStormLosesNothingAndPairsEvents, TestAnExplicitCallHappensIfAndOnlyIfItReturnsNil
//   - hubactor: TestARegistryBehavesLikeItsModel; internal/contract: TestEveryOnConnectIsPairedWithExactlyOneOnDisconnect,
//     TestWhoeverRegistersWhileTheHubStopsIsClosedExactlyOnce
//
// 4. Shutdown: refuse new work, write what is queued, close frame 1001 or end of stream, bounded by the drain timeout however
// silent the peer; then no goroutine, actor, timer or map entry is left.
//
//   - TestAThousandSilentPeersCannotHoldUpAShutdownNorCostAMessage, TestPeersThatNeverReadAreGoneAfterTheDrainTimeout,
//     TestRegisterOnShutdownEndsStreamsAndSockets, TestShutdownBeforeRun, TestShutdownTwiceAtOnceAndOnAStoppedHub
//   - every test here: what wstest.Clean finds left behind, goroutines or actors, fails it. Timers are not looked for.
//   - hubactor: TestAHubDrainsHoweverItIsStopped; internal/contract: TestTenThousandConnectionsComeAndGoAndLeaveNothing
//
// 5. Memory is bounded by subscribers x their bound + the hub's queues, whatever clients or Redis do.
//
//   - TestAStalledClientHoldsNoMoreThanItsBound, TestAMessageOfExactlyTheBytesFitsAndOneMoreNever,
//     TestMessagesAndBytesAreBoundedTogether, TestBroadcastsHeldBackWhileOnConnectRunsOverflowByThePolicy,
//     TestWhatOnDropIsNotCalledForIsCountedAllTheSame, TestAcceptsAtOnceLetInExactlyN
//   - clientactor: TestPongsForAPeerThatDoesNotReadAreBounded; redisactor: TestALedgerThatIsUsedForLongStaysSmall,
//     TestNotesBeyondTheLimitAreForgottenOldestFirst, TestWhatAHubHasNoRoomForIsCountedAndReportedAsItsOwn
//
// 6. While Redis is away: local delivery goes on, BroadcastEvent falls back, the link comes back by itself with backoff, and a
// gap is reported. A message reaches each local subscriber once, whether or not the subscription is up.
//
//   - redisactor: FuzzAMessageIsDeliveredOnceHoweverRedisInterleaves, TestLedgerAgreesWithItsModel,
//     TestARedisThatIsKilledAndComesBackCostsNoLocalMessage, TestARedisThatIsDownFallsBackWithinTwoSeconds,
//     TestTroubleIsReportedAsAGap
//
// 7. No shared mutable state between actors except Outbox and Gate, which own their locks.
//
//   - all of the above under the race detector; TestARegistryThatCrashesInAStormLosesNothingAndPairsEvents and actors:
//     TestManyProducersLoseNothingAndKeepTheirOrder, TestUnderLoadEachOperationIsPostedOnceOrFailedNeverBoth above all
package attack_test
