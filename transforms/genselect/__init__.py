"""GenSelect: learning to choose the best of several solutions to a problem.

records      what travels
candidates   a judged solution as what a choice can be among
problems     the candidates of each problem together
instances    a few of them drawn, right and wrong ones
comparison   a model compares them and chooses; right choices are kept
summaries    what a reader needs of a comparison, told again
"""
